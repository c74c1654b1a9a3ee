"""What the parts of a load add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from apps.connectors.contracts import StagedPart
from apps.engine.services.loads.controls import merge_totals
from apps.engine.services.loads.plans import PUSHDOWN, LoadPlan, part_path
from apps.integrations.contracts import FlowDefinition


@dataclass(frozen=True)
class PartResults:
    """The outputs of all parts together.

    Attributes:
        staged: what is in the staging area, one entry per part.
        read, accepted, quarantined, filtered: rows.
        source_totals: control totals over what was read; None where the source computed its own.
        rejected_totals: control totals over rejected rows.
        target_totals: control totals over accepted rows; None where the target computes its own.
        cursors: highest cursor value of each part.
    """

    staged: tuple[StagedPart, ...]
    read: int
    accepted: int
    quarantined: int
    filtered: int
    source_totals: Mapping[str, Decimal | None] | None
    rejected_totals: Mapping[str, Decimal | None]
    cursors: tuple[str, ...]
    target_totals: Mapping[str, Decimal | None] | None = None

    @property
    def staged_rows(self) -> int:
        """Rows in the staging area."""
        return sum(part.rows for part in self.staged)


def collect_parts(plan: LoadPlan, definition: FlowDefinition, outputs: Mapping[str, Mapping[str, Any]]) -> PartResults:
    """Add up the outputs of every part (or of the push-down)."""
    paths = [PUSHDOWN] if plan.pushdown else [part_path(index) for index in range(len(plan.partitions))]
    found: Sequence[Mapping[str, Any]] = [outputs[path] for path in paths]
    aggregates = {item.name: item.aggregate for item in definition.reconciliation.controls}
    targets = [item["target_totals"] for item in found if item.get("target_totals") is not None]
    sources = [item["source_totals"] for item in found if item.get("source_totals") is not None]
    return PartResults(
        staged=tuple(StagedPart.from_json(dict(item["staged"])) for item in found),
        read=sum(int(item["read"]) for item in found),
        accepted=sum(int(item["accepted"]) for item in found),
        quarantined=sum(int(item["quarantined"]) for item in found),
        filtered=sum(int(item["filtered"]) for item in found),
        source_totals=merge_totals(sources, aggregates) if sources else None,
        rejected_totals=merge_totals([item.get("rejected_totals") or {} for item in found], aggregates),
        cursors=tuple(item["cursor"] for item in found if item.get("cursor") is not None),
        target_totals=merge_totals(targets, aggregates) if targets else None,
    )
