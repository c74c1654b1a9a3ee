"""Replays: runs whose source are quarantined rows, corrections applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.core.ids import uuid7
from apps.engine.choices import RunKind, RunMode, RunTrigger, StepStatus
from apps.engine.exceptions import ReplayNotPossible
from apps.engine.models import Run, StepResult
from apps.engine.services.definitions import parse_definition
from apps.engine.services.loads.plans import OPEN
from apps.engine.services.runs import ensure_not_paused, launch_run
from apps.integrations.contracts import FlowDefinition
from apps.integrations.selectors import find_deployed_version, get_flow
from apps.quality.contracts import ReplaySelection
from apps.quality.selectors import select_for_replay
from apps.quality.services.quarantine import mark_replayed


@dataclass(frozen=True)
class ReplayRequest:
    """Which rows: by id, or all that wait of a run, or of a flow."""

    ids: tuple[UUID, ...] | None = None
    run_id: UUID | None = None
    flow_id: UUID | None = None


def start_replay_run(request: ReplayRequest, *, actor: Actor) -> Run:
    """Try quarantined rows again: through the flow's current mapping and keys, into the same target.

    The rows are handed over in the transaction that starts the run, so two replays never take the same row. A row that
    is rejected again becomes a new quarantined row of the replay; if the replay itself fails, its rows wait again.

    Args:
        request: which rows.
        actor: needs `quarantine:edit` and `run:start`.

    Raises:
        PermissionDenied: as named.
        SelectionEmpty, SelectionMixed, SelectionTooLarge, QuarantinedRowNotFound: the selection.
        ReplayNotPossible: nothing is known about the source's columns.
        FlowPaused: nothing starts a run of the flow at present.
        RunAlreadyActive: the flow is active in the environment.
    """
    check_permission(actor, "run:start")
    check_permission(actor, "quarantine:edit")
    selection = select_for_replay(
        ids=list(request.ids) if request.ids is not None else None, run_id=request.run_id, flow_id=request.flow_id
    )
    origin = _find_origin(selection)
    pinned = _pin(selection, origin)
    flow = get_flow(selection.flow_id)
    ensure_not_paused(flow)
    with transaction.atomic():
        run_id = uuid7()
        count = mark_replayed(selection, run_id=run_id, actor=actor)
        run = Run(
            id=run_id,
            flow_id=selection.flow_id,
            flow_version_id=pinned.version_id,
            environment_id=selection.environment_id,
            flow_name=flow.name,
            version_number=pinned.number,
            kind=RunKind.REPLAY,
            mode=RunMode.FULL,
            trigger=RunTrigger.REPLAY,
            definition=pinned.definition.to_json(),
            parameters={"source_fields": origin, "rows": count},
        )
        return launch_run(run, actor=actor, summary=f"Replayed {count} quarantined rows.")


@dataclass(frozen=True)
class _Pinned:
    """Mapping of the replay."""

    definition: FlowDefinition
    version_id: UUID | None
    number: int | None


def _pin(selection: ReplaySelection, origin: list[dict[str, Any]]) -> _Pinned:
    """The deployed version, whose mapping may have been repaired since; else what the last run of the flow used."""
    deployed = find_deployed_version(selection.flow_id, selection.environment_id)
    if deployed is not None:
        return _Pinned(deployed.load, deployed.id, deployed.number)
    last = _loads_of(selection).first()
    if last is None:
        raise ReplayNotPossible("The flow is neither deployed here nor was it ever run.", rows=len(origin))
    return _Pinned(parse_definition(last.definition), last.flow_version_id, last.version_number)


def _find_origin(selection: ReplaySelection) -> list[dict[str, Any]]:
    """Columns and types that the source's rows had when the newest load of the flow read them."""
    opened = (
        StepResult.objects.filter(
            run__in=_loads_of(selection).values("pk"), path=OPEN, latest=True, status=StepStatus.SUCCEEDED
        )
        .order_by("-id")
        .first()
    )
    if opened is None:
        raise ReplayNotPossible("No load of this flow is known, so the types of its source are not known either.")
    fields: list[dict[str, Any]] = (opened.output or {})["plan"]["source_fields"]
    return fields


def _loads_of(selection: ReplaySelection) -> Any:
    return Run.objects.filter(
        flow_id=selection.flow_id, environment_id=selection.environment_id, kind=RunKind.LOAD
    ).order_by("-id")
