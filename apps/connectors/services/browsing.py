"""Looks into a connected system: its entities, their structure, a few rows."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.connectors.contracts import EntityPage, EntitySchema, ReadRequest
from apps.connectors.services.sessions import open_connection

MAX_SAMPLE_ROWS = 200
MAX_CELL_CHARS = 2_000


def list_entities(
    connection_id: UUID, *, search: str = "", cursor: str | None = None, limit: int = 50, actor: Actor
) -> EntityPage:
    """One page of the system's entities.

    Raises:
        PermissionDenied, ConnectionNotFound, and what reaching the system raises.
    """
    check_permission(actor, "connection:view")
    with open_connection(connection_id, "design") as connector:
        return connector.discover(search, cursor, limit)


def describe_entity(connection_id: UUID, entity: str, *, actor: Actor) -> EntitySchema:
    """Structure of one entity.

    Raises:
        PermissionDenied, ConnectionNotFound, EntityGone, and what reaching the system raises.
    """
    check_permission(actor, "connection:view")
    with open_connection(connection_id, "design") as connector:
        return connector.describe(entity)


def sample_entity(connection_id: UUID, entity: str, *, limit: int, actor: Actor) -> dict[str, Any]:
    """The first rows of an entity, for people: `{fields: [{name, type}], rows: [{field: value}]}`.

    Decimals, dates and times are text, so that a browser shows what the system holds; long values are cut.

    Args:
        limit: rows, at most 200.
        actor: needs `connection:use`, since rows are the tenant's data.
    """
    check_permission(actor, "connection:use")
    with open_connection(connection_id, "preview") as connector:
        schema = connector.describe(entity)
        request = ReadRequest(
            entity, columns=schema.names, limit=min(limit, MAX_SAMPLE_ROWS), batch_rows=MAX_SAMPLE_ROWS
        )
        rows = [row for batch in connector.read(request) for row in batch.select(list(schema.names)).to_pylist()]
    return {
        "fields": [{"name": one.name, "type": one.type} for one in schema.fields],
        "rows": [{name: to_shown(value) for name, value in row.items()} for row in rows],
    }


def to_shown(value: Any) -> Any:
    """A value as JSON that a person reads: exact numbers as text, cut where it is long."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value if len(value) <= MAX_CELL_CHARS else value[: MAX_CELL_CHARS - 1] + "…"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return b64encode(value[:MAX_CELL_CHARS]).decode()
    if isinstance(value, dict):
        return {str(name): to_shown(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_shown(inner) for inner in value[:100]]
    if isinstance(value, timedelta | UUID):
        return str(value)
    return json.loads(json.dumps(value, default=str))
