"""Consumers: create, change, pause, resume, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.connectors.registries import connector_registry
from apps.connectors.selectors import get_connection
from apps.core.exceptions import PortalError, Problem
from apps.core.ids import uuid7
from apps.core.services.hints import send_hint
from apps.events.exceptions import EventInvalid
from apps.events.services.foreign_bodies import check_foreign_type
from apps.expressions.services.checking import check_expression
from apps.integrations.selectors import get_environment_row, resolve_binding
from apps.messaging.choices import ConsumerStatus, MessageFormat
from apps.messaging.events import MESSAGE_RECEIVED
from apps.messaging.exceptions import ConsumerInvalid, ConsumerNotFound
from apps.messaging.models import Consumer
from apps.messaging.services.shaping import MESSAGE_COLUMNS
from apps.tenancy.services.context import require_tenant

EDIT = "consumer:edit"
MAX_CONSUMERS = 50
MAX_PER_SECOND = 2_000
MAX_EXPRESSION_CHARS = 4_000
CHANGEABLE = ("name", "format", "event_type", "filter", "key_expression", "max_per_second")
"""What may change while the position at the broker stays meaningful."""


@transaction.atomic
def create_consumer(
    name: str,
    *,
    environment: str,
    connection: str,
    source: str,
    from_start: bool = False,
    actor: Actor,
    **settings: Any,
) -> Consumer:
    """Take messages of a queue, stream or topic from now on.

    Args:
        name: unique among the tenant's consumers.
        environment: short name of the environment whose connection is meant.
        connection: slot or short name of a connection to a broker.
        source: queue, `stream[/subject]`, topic, or topic filter.
        from_start: begin with what is there already, where the broker keeps a log.
        settings: format, event_type, filter, key_expression, max_per_second.
        actor: needs `consumer:edit`.

    Raises:
        PermissionDenied, EnvironmentNotFound, ConsumerInvalid.
    """
    check_permission(actor, EDIT)
    if Consumer.objects.exclude(status=ConsumerStatus.DELETED).count() >= MAX_CONSUMERS:
        raise ConsumerInvalid(f"An organisation has at most {MAX_CONSUMERS} consumers.", field="name")
    row = Consumer(
        id=uuid7(),
        name=name,
        environment=get_environment_row(environment),
        connection=connection,
        source=source.strip(),
        from_start=from_start,
        event_type=MESSAGE_RECEIVED.type,
        created_by_name=actor.name[:300],
    )
    _apply(row, settings)
    _save(row, new=True)
    facts = {"environment": environment, "connection": connection, "source": row.source, "event_type": row.event_type}
    _record(row, "created", f"Created consumer {row.name}", actor, facts)
    return row


@transaction.atomic
def update_consumer(consumer_id: UUID, *, actor: Actor, **changes: Any) -> Consumer:
    """Change name, format, event_type, filter, key_expression or max_per_second; it counts from the next batch on.

    Raises:
        PermissionDenied, ConsumerNotFound, ConsumerInvalid.
    """
    row = _lock(consumer_id, actor)
    _apply(row, changes)
    _let_go(row)
    _save(row)
    _record(row, "updated", f"Changed consumer {row.name}", actor, {"changed": sorted(changes)})
    return row


@transaction.atomic
def pause_consumer(consumer_id: UUID, *, reason: str = "", actor: Actor) -> Consumer:
    """Take no more messages; they stay with the broker. A second call changes nothing.

    Raises:
        PermissionDenied, ConsumerNotFound.
    """
    row = _lock(consumer_id, actor)
    if row.status == ConsumerStatus.PAUSED:
        return row
    row.status, row.status_reason = ConsumerStatus.PAUSED, reason.strip()[:200]
    _let_go(row)
    _save(row)
    _record(row, "paused", f"Paused consumer {row.name}", actor, {"reason": row.status_reason})
    return row


@transaction.atomic
def resume_consumer(consumer_id: UUID, *, actor: Actor) -> Consumer:
    """Go on where it was paused, or try a failing one at once.

    Raises:
        PermissionDenied, ConsumerNotFound, ConsumerInvalid.
    """
    row = _lock(consumer_id, actor)
    _check(row)
    row.status, row.status_reason, row.failures = ConsumerStatus.ACTIVE, "", 0
    _let_go(row)
    _save(row)
    _record(row, "resumed", f"Resumed consumer {row.name}", actor)
    return row


@transaction.atomic
def delete_consumer(consumer_id: UUID, *, actor: Actor) -> None:
    """It takes nothing any more; what it published stays.

    Raises:
        PermissionDenied, ConsumerNotFound.
    """
    row = _lock(consumer_id, actor)
    row.status = ConsumerStatus.DELETED
    _let_go(row)
    _save(row)
    _record(row, "deleted", f"Deleted consumer {row.name}", actor)


def _lock(consumer_id: UUID, actor: Actor) -> Consumer:
    check_permission(actor, EDIT)
    rows = Consumer.objects.select_for_update(of=("self",)).select_related("environment")
    row: Consumer | None = rows.exclude(status=ConsumerStatus.DELETED).filter(id=consumer_id).first()
    if row is None:
        raise ConsumerNotFound(value=consumer_id)
    return row


def _let_go(row: Consumer) -> None:
    """Whoever holds it finds its fence gone with the next batch, and leaves that batch to the broker."""
    row.fence += 1
    row.lease_until = row.next_attempt_at = row.connected_at = row.lag = None


def _apply(row: Consumer, settings: dict[str, Any]) -> None:
    for field, value in settings.items():
        if field not in CHANGEABLE:
            raise TypeError(f"A consumer has no setting {field!r} that could be changed.")
        setattr(row, field, value.strip() if isinstance(value, str) else value)
    _check(row)


def _check(row: Consumer) -> None:
    problems: list[Problem] = []
    if not row.name or len(row.name) > 100 or not row.name.isprintable():
        problems.append(Problem("name", "messaging.name", "A name has 1 to 100 printable characters."))
    if not row.source or len(row.source) > 300 or not row.source.isprintable():
        problems.append(Problem("source", "messaging.source", "Name the queue, stream or topic."))
    if row.format not in MessageFormat.values:
        problems.append(Problem("format", "messaging.format", "Use json, cloudevents or text."))
    if not 1 <= row.max_per_second <= MAX_PER_SECOND:
        message = f"A consumer takes 1 to {MAX_PER_SECOND:,} messages a second."
        problems.append(Problem("max_per_second", "messaging.rate", message))
    problems += _connection_problems(row) + _type_problems(row) + _expression_problems(row)
    if problems:
        raise ConsumerInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _connection_problems(row: Consumer) -> list[Problem]:
    try:
        found = get_connection(resolve_binding(row.environment_id, row.connection))
    except PortalError as error:
        return [Problem("connection", error.code, error.message, hint=error.remedy)]
    manifest = connector_registry.get(found.connector).manifest
    if found.archived_at is not None:
        return [Problem("connection", "messaging.connection", f"The connection {found.name!r} is archived.")]
    if not manifest.capabilities.consume:
        able = sorted(one.manifest.name for one in connector_registry if one.manifest.capabilities.consume)
        message = f"{manifest.name} has no messages to consume."
        return [Problem("connection", "messaging.connection", message, hint=f"Choose one to: {', '.join(able)}.")]
    return []


def _type_problems(row: Consumer) -> list[Problem]:
    try:
        row.event_type = check_foreign_type(row.event_type, portal_type=MESSAGE_RECEIVED.type)
    except EventInvalid as error:
        return [Problem("event_type", "messaging.event_type", error.message, hint=error.remedy)]
    if row.format == MessageFormat.TEXT and row.event_type != MESSAGE_RECEIVED.type:
        message = f"Text becomes events of {MESSAGE_RECEIVED.type} only: a type of your own is an object."
        return [Problem("event_type", "messaging.event_type", message)]
    return []


def _expression_problems(row: Consumer) -> list[Problem]:
    problems: list[Problem] = []
    for path, source in (("filter", row.filter), ("key_expression", row.key_expression)):
        if len(source) > MAX_EXPRESSION_CHARS:
            message = f"An expression has at most {MAX_EXPRESSION_CHARS:,} characters."
            problems.append(Problem(path, "messaging.expression", message))
            continue
        if not source:
            continue
        checked = check_expression(source, MESSAGE_COLUMNS)
        problems += [
            Problem(path, found.code, found.message, found.severity, found.start, found.end, found.hint)
            for found in checked.problems
            if found.severity == "error"
        ]
        if path == "filter" and checked.ok and checked.type != "BOOLEAN":
            message = f"A filter is true or false; this is {checked.type}."
            problems.append(Problem(path, "messaging.filter_type", message, hint="Compare it with something."))
    return problems


def _save(row: Consumer, *, new: bool = False) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=new)
    except IntegrityError as error:
        if "messaging_consumer_name" not in str(error):
            raise
        problem = Problem("name", "messaging.name_taken", f"Another consumer is called {row.name}.")
        raise ConsumerInvalid(problem.message, field="name", problems=[problem]) from None


def _record(row: Consumer, verb: str, summary: str, actor: Actor, facts: dict[str, Any] | None = None) -> None:
    record_audit(
        actor=actor,
        action=f"consumer.{verb}",
        target_type="consumer",
        target_id=row.id,
        summary=f"{summary}.",
        facts=facts or {},
    )
    send_hint(require_tenant().id, "consumer", row.id)
