"""The input of a run that a trigger starts: fixed parameters, and expressions over the event or the moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from apps.engine.choices import TriggerKind
from apps.engine.models import Trigger
from apps.engine.services.processes.scopes import to_json
from apps.events.contracts import EventRecord
from apps.events.services.matching import EVENT_SCHEMA
from apps.expressions.contracts import Field, Schema
from apps.expressions.services.evaluation import evaluate_many

MAPPING_MOST = 50
EVALUATION_S = 2.0
EVENT_COLUMNS = EVENT_SCHEMA
SCHEDULE_COLUMNS = Schema(
    (Field("due_at", "TIMESTAMPTZ", nullable=False), Field("due_local", "TIMESTAMP", nullable=False))
)
"""What a schedule's mapping may use: the moment that is due, and the same by the wall clock of the trigger's zone."""


POLL_COLUMNS = Schema(
    (
        Field("polled_at", "TIMESTAMPTZ", nullable=False),
        Field("rows", "JSON", nullable=False),
        Field("count", "BIGINT", nullable=False),
    )
)
"""What a poll's mapping may use: when it looked, the new rows, and how many they are."""
COLUMNS = {
    TriggerKind.SCHEDULE: SCHEDULE_COLUMNS,
    TriggerKind.EVENT: EVENT_COLUMNS,
    TriggerKind.POLL: POLL_COLUMNS,
}


def input_of_rows(trigger: Trigger, rows: Sequence[dict[str, Any]], polled_at: datetime) -> dict[str, Any]:
    """Input of the run for new rows: they are its `rows`, beside parameters and mapping.

    Raises:
        EvaluationFailed: an expression has no value.
    """
    given = _input(trigger, {"polled_at": polled_at, "rows": list(rows), "count": len(rows)}, POLL_COLUMNS)
    return {"rows": list(rows), **given}


def input_of_moment(trigger: Trigger, due_at: datetime) -> dict[str, Any]:
    """Input of the run for one moment of a schedule.

    Raises:
        EvaluationFailed: an expression has no value.
    """
    local = due_at.astimezone(ZoneInfo(trigger.zone)).replace(tzinfo=None)
    return _input(trigger, {"due_at": due_at, "due_local": local}, SCHEDULE_COLUMNS)


def input_of_event(trigger: Trigger, event: EventRecord) -> dict[str, Any]:
    """Input of the run for one event.

    Raises:
        EvaluationFailed: an expression has no value.
    """
    row = {
        "id": str(event.id),
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "partitionkey": event.key,
        "data": event.data,
    }
    return _input(trigger, row, EVENT_COLUMNS)


def _input(trigger: Trigger, row: dict[str, Any], columns: Schema) -> dict[str, Any]:
    named = tuple(trigger.mapping.items())
    values = evaluate_many(named, row, columns, timeout_s=EVALUATION_S)
    return {**trigger.parameters, **{name: to_json(value) for name, value in values.items()}}
