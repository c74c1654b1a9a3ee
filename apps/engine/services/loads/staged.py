"""Control totals of what has arrived in the target system, computed there."""

from __future__ import annotations

from apps.connectors.base import ConnectorBase, Writer
from apps.connectors.choices import Disposition
from apps.connectors.contracts import StatsRequest, WriteResult
from apps.connectors.exceptions import NotSupported
from apps.engine.contracts import RunFacts
from apps.engine.services.loads.controls import target_controls
from apps.engine.services.loads.plans import LoadPlan
from apps.engine.services.loads.results import PartResults
from apps.integrations.contracts import FlowDefinition


def staged_totals(
    writer: Writer, plan: LoadPlan, definition: FlowDefinition, results: PartResults
) -> dict[str, str | None] | None:
    """Totals over the staged rows, computed by the target system before they are merged.

    An upsert leaves unchanged rows alone, so that the target's rows "of this run" are not all rows of the load; the
    staged ones are.
    """
    controls = target_controls(definition, [item["name"] for item in plan.target_fields])
    if controls is None or not results.staged_rows:
        return None
    try:
        return writer.staged_stats(results.staged, controls)
    except NotSupported:
        return None


def target_totals(
    connector: ConnectorBase, run: RunFacts, plan: LoadPlan, definition: FlowDefinition, result: WriteResult
) -> dict[str, str | None] | None:
    """Totals over the target's rows of this run, computed by the target system; None when they are not all of it."""
    controls = target_controls(definition, [item["name"] for item in plan.target_fields])
    complete = plan.disposition in (Disposition.APPEND, Disposition.REPLACE) or result.unchanged == 0
    if controls is None or not connector.capabilities.stats or not complete:
        return None
    return connector.stats(StatsRequest(plan.target_entity, controls, run_id=run.id))
