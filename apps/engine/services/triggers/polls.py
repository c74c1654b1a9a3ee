"""Settings of polls: what can be wrong with them, when the next look comes, and where the first one starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from apps.connectors.contracts import Capabilities
from apps.connectors.registries import connector_registry
from apps.connectors.selectors import get_connection
from apps.core.exceptions import Problem
from apps.engine.models import PollState, Trigger
from apps.engine.services.triggers.cron import Schedule, check_schedule
from apps.events.selectors import is_event_defined
from apps.integrations.selectors import find_binding

EVERY_LEAST_S, EVERY_MOST_S = 10, 86_400
BATCH_MOST = 500


@dataclass(frozen=True)
class PollSettings:
    """What a poll reads and what becomes of new rows.

    Attributes:
        connection: slot that the environment binds to a connection.
        entity: what is read, whole rows; empty for a query.
        query: read-only statement in the system's own language; the parameter `position` is the highest value so far.
        cursor: column that rises with every new row.
        start: value from which rows are new; empty (entities only): those that come after the first look.
        batch_rows: rows of one firing.
        event_type: type of the tenant of which each new row becomes an event; empty: each firing starts a run.
    """

    connection: str = ""
    entity: str = ""
    query: str = ""
    cursor: str = ""
    start: str = ""
    batch_rows: int = 100
    event_type: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PollSettings:
        """From the trigger's row."""
        return cls(**data)


POLL_NAMES = tuple(one.name for one in fields(PollSettings))
READING = ("connection", "entity", "query", "cursor", "start")


def next_poll(row: Trigger, after: datetime) -> datetime | None:
    """When a poll looks next, after a moment."""
    if row.every_s:
        return after + timedelta(seconds=row.every_s)
    return Schedule(row.cron, row.zone, row.calendar).next_after(after)


def fence_poll(row: Trigger) -> None:
    """Whoever looks now hands nothing out; the caller holds the trigger's lock."""
    PollState.objects.filter(trigger=row).update(
        lease_epoch=F("lease_epoch") + 1, lease_expires_at=None, rung_at=None, updated_at=Now()
    )


def reset_poll(row: Trigger, former: Mapping[str, Any]) -> None:
    """What is looked for has changed: a look in hand counts for nothing, and another source starts anew."""
    fence_poll(row)
    if any(row.poll.get(name) != former.get(name) for name in READING):
        PollState.objects.filter(trigger=row).update(position=None, failures=0)


def find_poll_problems(row: Trigger) -> list[Problem]:
    """What keeps a poll from being used."""
    settings = PollSettings.from_json(row.poll)
    problems = [*_interval_problems(row), *_connection_problems(row, settings)]
    for name, limit in (("entity", 400), ("query", 10_000), ("cursor", 200), ("start", 100)):
        if len(getattr(settings, name)) > limit:
            message = f"At most {limit:,} characters."
            problems.append(Problem(f"poll.{name}", "engine.poll.length", message))
    if bool(settings.entity) == bool(settings.query):
        problems.append(Problem("poll.entity", "engine.poll.source", "Give an entity or a query."))
    if not settings.cursor:
        message = "Name the column that rises with every new row."
        problems.append(Problem("poll.cursor", "engine.poll.cursor", message, hint="A number, or a time of change."))
    if settings.query and not settings.start:
        message = "A query needs the value from which rows are new."
        problems.append(Problem("poll.start", "engine.poll.start", message, hint="It is the first `position`."))
    if settings.query and "position" not in settings.query:
        message = "The query does not use its parameter `position`."
        hint = "In SQL: WHERE id > %(position)s."
        problems.append(Problem("poll.query", "engine.poll.position", message, hint=hint))
    if not 1 <= settings.batch_rows <= BATCH_MOST:
        problems.append(Problem("poll.batch_rows", "engine.poll.batch", f"A batch has 1 to {BATCH_MOST} rows."))
    if settings.event_type and not is_event_defined(settings.event_type):
        message = f"The type {settings.event_type} is not defined here."
        problems.append(
            Problem("poll.event_type", "events.type_undefined", message, hint="Define it under Events, Types.")
        )
    return problems


def _interval_problems(row: Trigger) -> list[Problem]:
    if row.every_s is not None and row.cron:
        return [Problem("every_s", "engine.poll.interval", "Give an interval or cron, not both.")]
    if row.every_s is None:
        if not row.cron:
            return [Problem("every_s", "engine.poll.interval", "Give an interval, or cron and zone.")]
        return check_schedule(Schedule(row.cron, row.zone, row.calendar))
    if not EVERY_LEAST_S <= row.every_s <= EVERY_MOST_S:
        message = f"An interval has {EVERY_LEAST_S} to {EVERY_MOST_S:,} seconds."
        return [Problem("every_s", "engine.poll.interval", message)]
    return []


def _connection_problems(row: Trigger, settings: PollSettings) -> list[Problem]:
    if not settings.connection:
        return [Problem("poll.connection", "engine.poll.connection", "Choose a connection.")]
    if row.environment_id is None:
        return []
    connection_id = find_binding(row.environment_id, settings.connection)
    if connection_id is None:
        message = f"The connection slot {settings.connection!r} leads nowhere in this environment."
        return [Problem("poll.connection", "integrations.binding_missing", message)]
    kind = connector_registry.get(get_connection(connection_id).connector)
    can: Capabilities = kind.manifest.capabilities
    if settings.query and not can.query:
        return [Problem("poll.query", "engine.poll.no_query", f"{kind.manifest.name} takes no statements.")]
    if settings.entity and not (can.read and can.cursors):
        return [Problem("poll.entity", "engine.poll.no_cursor", f"{kind.manifest.name} cannot read from a position.")]
    return []
