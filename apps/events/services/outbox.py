"""Publish events in the transaction of the change they announce. The log is the outbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection

from apps.core.clock import now
from apps.core.exceptions import Problem
from apps.core.ids import uuid7
from apps.events.exceptions import EventInvalid
from apps.events.registries import get_event_type
from apps.events.services.payloads import to_payload
from apps.tenancy.services.context import require_tenant
from apps.tenancy.services.rows import Statements

NOTIFY_CHANNEL = "portal_events"
MAX_DATA_BYTES = 64 * 1024
MAX_NAME_CHARS = 200

_INSERT = (
    "INSERT INTO events_event (id, type, source, subject, time, key, data) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s::jsonb) RETURNING pg_notify(%s, %s)"
)


# The data come as one JSON document: an array of texts would be escaped quote by quote, which costs more than the rest.
_INSERT_MANY = (
    "WITH added AS (INSERT INTO events_event (id, type, source, subject, time, key, data) "
    "SELECT id, type, %s, subject, %s, key, data FROM ROWS FROM (unnest(%s::uuid[]), unnest(%s::text[]), "
    "unnest(%s::text[]), unnest(%s::text[]), jsonb_array_elements(%s::jsonb)) "
    "WITH ORDINALITY AS given(id, type, subject, key, data, place) ORDER BY place) SELECT pg_notify(%s, %s)"
)


@dataclass(frozen=True)
class NewEvent:
    """An event to be appended whose data were checked already: its full type, and its data as JSON text."""

    type: str
    text: str
    subject: str
    key: str
    id: UUID = field(default_factory=uuid7)


def publish_event(
    type_: str, *, subject: str, data: Any, key: str | None = None, into: Statements | None = None
) -> UUID:
    """Append an event to the current tenant's log.

    Part of the caller's transaction: it exists if and only if that commits, and costs one statement and no lock, so
    publishers never wait for each other. The relay numbers and delivers it within milliseconds of the commit.

    Args:
        type_: registered type, short (`run.completed.v1`) or full.
        subject: what it is about, `<kind>/<id>` (`run/0198…`).
        data: mapping of the payload's fields, or the payload dataclass; at most 64 KiB of JSON, and no secrets.
        key: events of one key are delivered in the order of their commits; the subject when absent.
        into: statements of the caller's transaction that it is to travel with; sent at once when absent.

    Returns:
        Id of the event.

    Raises:
        TenantContextMissing: no tenant is entered.
        EventTypeUnknown: no app registered the type.
        EventInvalid: data do not fit the type, or are too large.
    """
    require_tenant()
    event_type = get_event_type(type_)
    text = json.dumps(to_payload(event_type, data), ensure_ascii=False, allow_nan=False)
    key = subject if key is None else key
    check_size(event_type.type, text, subject, key)
    return append_event(event_type.type, text, subject=subject, key=key, into=into)


def append_event(type_: str, text: str, *, subject: str, key: str, into: Statements | None = None) -> UUID:
    """Append an event whose data were checked already, as JSON text. Everybody else calls `publish_event`."""
    tenant = require_tenant()
    event_id = uuid7()
    statements = Statements() if into is None else into
    source = build_source(tenant.id)
    statements.add(_INSERT, [event_id, type_, source, subject, now(), key, text, NOTIFY_CHANNEL, str(tenant.id)])
    if into is None:
        statements.send()
    return event_id


def append_events(events: Sequence[NewEvent]) -> None:
    """Append many events, in this order; one statement for all of them, in the caller's transaction.

    For sources that bring thousands a second: change capture, and consumers of brokers.

    Raises:
        EventInvalid: one is too large, or its subject or key is empty or too long.
        django.db.DataError: JSONB cannot hold one of them (a number beyond its range).
    """
    if not events:
        return
    tenant = require_tenant()
    for event in events:
        check_size(event.type, event.text, event.subject, event.key)
    columns: list[list[Any]] = [
        [event.id for event in events],
        [event.type for event in events],
        [event.subject for event in events],
        [event.key for event in events],
    ]
    document = f"[{','.join(event.text for event in events)}]"
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT_MANY, [build_source(tenant.id), now(), *columns, document, NOTIFY_CHANNEL, str(tenant.id)]
        )


def build_source(tenant_id: UUID) -> str:
    """CloudEvents `source` of a tenant's events."""
    return f"urn:analytics-portal:tenant:{tenant_id}"


def check_size(type_: str, text: str, subject: str, key: str) -> None:
    """Refuse data that are too large, and a subject or key that is empty or too long.

    Raises:
        EventInvalid: says which.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_DATA_BYTES:
        raise EventInvalid(
            f"The data of {type_} are larger than {MAX_DATA_BYTES} bytes.",
            field="data",
            remedy="Publish the id and let subscribers read the rest.",
        )
    for name, value in (("subject", subject), ("key", key)):
        if not value or len(value) > MAX_NAME_CHARS or "\x00" in value:
            problem = Problem(name, "events.name_invalid", f"The {name} has 1 to {MAX_NAME_CHARS} characters.")
            raise EventInvalid(problem.message, field=name, problems=[problem])
