"""`load/reconcile`: both sides counted and summed, each by its own system where it can, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.connectors.contracts import WriteResult
from apps.engine.contracts import StepContext, StepOutcome, StepType
from apps.engine.models import Run
from apps.engine.services.definitions import parse_definition
from apps.engine.services.loads.connections import use_connector
from apps.engine.services.loads.controls import COUNT, merge_totals, to_decimals
from apps.engine.services.loads.plans import FINISH, OPEN, LoadPlan
from apps.engine.services.loads.results import PartResults, collect_parts
from apps.engine.services.loads.staged import target_totals
from apps.integrations.contracts import FlowDefinition
from apps.quality.contracts import Control, ReconciliationInput, SideTotals
from apps.quality.services.reconciliation import compute_verdict, record_reconciliation

ADDITIVE = ("sum", "count")


class ReconcileLoad(StepType):
    """Compares source and target of a load."""

    type = "load.reconcile"

    def execute(self, context: StepContext) -> StepOutcome:
        """Compute both sides, then record the verdict in the transaction that records this step."""
        plan = LoadPlan.from_json(context.outputs[OPEN]["plan"])
        definition = parse_definition(context.run.definition)
        results = collect_parts(plan, definition, context.outputs)
        given = build_input(context, plan, definition, results)
        verdict = compute_verdict(given)
        level = {"green": "info", "amber": "warning"}.get(verdict.status, "error")
        context.log(level, f"Reconciliation is {verdict.status}.", reasons=list(verdict.reasons))

        def commit() -> None:
            record_reconciliation(given)

        return StepOutcome(
            output={"status": verdict.status}, detail="; ".join(verdict.reasons) or "Both sides agree", commit=commit
        )


def build_input(
    context: StepContext, plan: LoadPlan, definition: FlowDefinition, results: PartResults
) -> ReconciliationInput:
    """Both sides of the load.

    Source: the system's own totals at the snapshot, else totals over what was read, evaluated apart from the mapping.
    Target: the system's own totals over the staged rows or over the rows of this run.
    """
    finished = context.outputs[FINISH]
    result = WriteResult.from_json(dict(finished["write_result"]))
    duplicates = int(finished.get("duplicates", 0))
    source_count, source_totals = _source_side(plan, results)
    target_count, totals = _target_side(context, plan, definition, results, result, finished)
    controls = tuple(item for item in definition.reconciliation.controls if item.name in {*totals, *source_totals})
    return ReconciliationInput(
        run_id=context.run.id,
        flow_id=context.run.flow_id,
        environment_id=context.run.environment_id,
        source=SideTotals(source_count, source_totals),
        target=SideTotals(target_count, totals),
        quarantined=results.quarantined + duplicates,
        controls=controls,
        count_tolerance=definition.reconciliation.count_tolerance,
        requested_by=requester_of(context),
        quarantined_totals=_rejected(controls, results, finished),
    )


def _source_side(plan: LoadPlan, results: PartResults) -> tuple[int, Mapping[str, Decimal | None]]:
    if plan.source_totals is not None:
        return int(plan.source_totals.get(COUNT) or 0), to_decimals(plan.source_totals)
    return results.read - results.filtered, results.source_totals or {}


def _target_side(
    context: StepContext,
    plan: LoadPlan,
    definition: FlowDefinition,
    results: PartResults,
    result: WriteResult,
    finished: Mapping[str, Any],
) -> tuple[int, Mapping[str, Decimal | None]]:
    count = result.inserted + result.updated + result.unchanged
    if results.target_totals is not None:
        return count, _without_duplicates(results.target_totals, definition, finished)
    staged = finished.get("target_totals")
    if staged is not None and not result.duplicates:
        return count, to_decimals(staged)
    connector = use_connector(context, plan.target_connection, "write")
    found = target_totals(connector, context.run, plan, definition, result)
    if found is None:
        return count, to_decimals(staged or {})
    return int(found.get(COUNT) or 0), to_decimals(found)


def _without_duplicates(
    totals: Mapping[str, Decimal | None], definition: FlowDefinition, finished: Mapping[str, Any]
) -> dict[str, Decimal | None]:
    """Totals of what was handed over, less the rows that lost to a later one of the same key."""
    lost = to_decimals(finished.get("duplicate_totals") or {})
    kept = dict(totals)
    for control in definition.reconciliation.controls:
        value, less = kept.get(control.name), lost.get(control.name)
        if control.aggregate in ADDITIVE and value is not None and less is not None:
            kept[control.name] = value - less
    return kept


def _rejected(
    controls: tuple[Control, ...], results: PartResults, finished: Mapping[str, Any]
) -> Mapping[str, Decimal | None]:
    """What rejected rows and rows with a duplicate key add up to."""
    aggregates = {item.name: item.aggregate for item in controls}
    rejected = {name: None if v is None else format(v, "f") for name, v in results.rejected_totals.items()}
    return merge_totals([rejected, finished.get("duplicate_totals") or {}], aggregates)


def requester_of(context: StepContext) -> UUID | None:
    """The person who asked for the run; None for a machine."""
    row = Run.objects.filter(pk=context.run.id).values_list("requested_by_kind", "requested_by_id").first()
    return row[1] if row and row[0] == "user" else None
