"""Events of the connectors app: types and payloads."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

CONNECTION_CREATED = "connection.created.v1"
CONNECTION_UPDATED = "connection.updated.v1"
CONNECTION_CHECKED = "connection.checked.v1"
CONNECTION_ARCHIVED = "connection.archived.v1"


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
