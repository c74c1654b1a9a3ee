"""`load/checkpoint`: remembers how far the load came. Runs after the data are in the target, never before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apps.engine.choices import RunKind
from apps.engine.contracts import StepContext, StepOutcome, StepType
from apps.engine.models import LoadState
from apps.engine.services.definitions import parse_definition
from apps.engine.services.loads.cursors import compare
from apps.engine.services.loads.plans import OPEN, LoadPlan
from apps.engine.services.loads.results import collect_parts


class CheckpointLoad(StepType):
    """Stores cursor and columns of the load; of a replay, settles its rows."""

    type = "load.checkpoint"

    def execute(self, context: StepContext) -> StepOutcome:
        """The state is written in the transaction that records this step, so it exists once, and after the data."""
        plan = LoadPlan.from_json(context.outputs[OPEN]["plan"])
        if context.run.kind == RunKind.REPLAY:
            return StepOutcome(detail="The replayed rows are settled")
        cursor = next_cursor(context, plan)
        detail = f"{cursor['column']} up to {cursor['value']}" if cursor and cursor.get("value") else "No cursor"
        return StepOutcome(output={"cursor": cursor}, detail=detail, commit=_write(context, plan, cursor))


def next_cursor(context: StepContext, plan: LoadPlan) -> dict[str, Any] | None:
    """Where the next incremental load starts; None when the flow has no cursor."""
    if plan.next_cursor is None:
        return None
    cursor = dict(plan.next_cursor)
    if cursor.get("guarded"):
        return cursor
    results = collect_parts(plan, parse_definition(context.run.definition), context.outputs)
    for value in results.cursors:
        if cursor.get("value") is None or compare(value, str(cursor["value"]), str(cursor["type"])) > 0:
            cursor["value"] = value
    return cursor


def _write(context: StepContext, plan: LoadPlan, cursor: dict[str, Any] | None) -> Callable[[], None]:
    run = context.run

    def write() -> None:
        LoadState.objects.update_or_create(
            flow_id=run.flow_id,
            environment_id=run.environment_id,
            entity=plan.source_entity,
            defaults={"cursor": cursor, "source_fields": list(plan.actual_fields), "run_id": run.id},
        )

    return write
