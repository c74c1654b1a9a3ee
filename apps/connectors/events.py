"""Events of the connectors app: types and payloads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

CONNECTION_CREATED = "connection.created.v1"
CONNECTION_UPDATED = "connection.updated.v1"
CONNECTION_CHECKED = "connection.checked.v1"
CONNECTION_ARCHIVED = "connection.archived.v1"
ROW_CHANGED = "row.changed.v1"
CAPTURE_SCHEMA_CHANGED = "capture.schema_changed.v1"
CAPTURE_FAILED = "capture.failed.v1"
CAPTURE_ALARM = "capture.alarm.v1"

CIRCUIT_OPENED = "connection.circuit_opened.v1"
CIRCUIT_CLOSED = "connection.circuit_closed.v1"


@dataclass(frozen=True)
class ConnectionCreated:
    """A connection was configured."""

    connection_id: UUID
    name: str
    connector: str
    by: str


@dataclass(frozen=True)
class ConnectionUpdated:
    """Settings or credentials changed; `changed` names which, never their values."""

    connection_id: UUID
    name: str
    changed: list[str]
    by: str


@dataclass(frozen=True)
class ConnectionChecked:
    """The outcome of a check differs from the one before."""

    connection_id: UUID
    name: str
    ok: bool
    code: str


@dataclass(frozen=True)
class ConnectionArchived:
    """A connection was taken out of use."""

    connection_id: UUID
    name: str
    by: str


@dataclass(frozen=True)
class RowChanged:
    """A row of another system, as it changed there.

    Attributes:
        connection: slug of the connection.
        op: `read` (it was there when the capture began), `insert`, `update`, `delete` or `truncate` (the whole table).
        key: key columns.
        before: the row before, where the table's REPLICA IDENTITY is FULL.
        after: the row now.
        unchanged: large columns that an update left alone and the system did not send.
        omitted: columns that are too large for an event.
        lsn: place in the system's log; with `place` it identifies the change.
        transaction: number of the transaction.
        place: of the change in its transaction, from 1.
        committed_at: when the system committed it.
    """

    capture: UUID
    connection: str
    table: str
    op: str
    key: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    unchanged: list[str]
    omitted: list[str]
    lsn: str
    transaction: int | None
    place: int
    committed_at: str | None


@dataclass(frozen=True)
class CaptureSchemaChanged:
    """The structure of a captured table changed; later rows have the new one.

    Attributes:
        columns: all columns with their types, as they are now.
        retyped: column -> old and new type.
    """

    capture: UUID
    name: str
    table: str
    added: list[str]
    removed: list[str]
    retyped: dict[str, Any]
    columns: dict[str, Any]


@dataclass(frozen=True)
class CaptureFailed:
    """A capture stopped and waits for a person."""

    capture: UUID
    name: str
    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class CaptureAlarm:
    """How a capture's slot is for the source has become worse, or better again."""

    capture: UUID
    name: str
    level: str
    reasons: list[str]
    retained_bytes: int
    lag_bytes: int
    lag_s: int


@dataclass(frozen=True)
class CircuitOpened:
    """A connection's system failed several times in a row; nothing calls it before `until`."""

    connection_id: UUID
    name: str
    failures: int
    code: str
    message: str
    until: datetime


@dataclass(frozen=True)
class CircuitClosed:
    """A connection's system is called again: it answered, or somebody reset the circuit (`by`)."""

    connection_id: UUID
    name: str
    opened_at: datetime
    by: str
