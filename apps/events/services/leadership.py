"""The relay's own connection: leader election and notifications.

Leadership is a session-level advisory lock. Its lease is kept by the server: the session has an idle limit, and a
leader that stops saying "still here" (killed, frozen, cut off) is disconnected by PostgreSQL, which frees the lock for
a standby. LISTEN needs a session too, so this connection must not go through a transaction pooler (see README).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from django.db import connections
from psycopg import sql

from apps.events.services.outbox import NOTIFY_CHANNEL

LOCK_KEY = 0x706F7274616C  # "portal"
DJANGO_ONLY = {"cursor_factory", "context", "row_factory", "server_side_binding", "isolation_level", "pool"}


class RelaySession:
    """A connection that holds the leadership, or would like to."""

    def __init__(self, *, lease_s: float) -> None:
        """Connect.

        Args:
            lease_s: seconds without a sign of life after which the server ends the session.
        """
        self._connection = _connect()
        self._connection.execute("SELECT set_config('idle_session_timeout', %s, false)", [f"{int(lease_s * 1000)}ms"])

    def claim(self) -> bool:
        """Whether this session is the leader now. Listens from then on."""
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
        if row is None or not row[0]:
            return False
        self._connection.execute(f"LISTEN {NOTIFY_CHANNEL}")
        return True

    def confirm(self) -> None:
        """Say "still here".

        Raises:
            psycopg.OperationalError: the server has ended the session; leadership is lost.
        """
        self._connection.execute("SELECT 1")

    def wait(self, timeout_s: float) -> set[UUID]:
        """Tenants that published, after at most `timeout_s`; empty if none did.

        Raises:
            psycopg.OperationalError: the session is gone.
        """
        found: set[UUID] = set()
        for notification in self._connection.notifies(timeout=timeout_s, stop_after=1):
            try:
                found.add(UUID(notification.payload))
            except ValueError:
                continue
        return found

    def close(self) -> None:
        """Give the leadership up."""
        self._connection.close()


def open_listener(channel: str) -> psycopg.Connection[Any]:
    """A connection of its own that listens to a channel; use as a context manager.

    Raises:
        psycopg.OperationalError: the server is away.
    """
    found = _connect()
    found.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    return found


async def open_async_session() -> psycopg.AsyncConnection[Any]:
    """A connection for the running event loop, in autocommit and in the public scope of the login role.

    Raises:
        psycopg.OperationalError: the server is away.
    """
    return await psycopg.AsyncConnection.connect(**_parameters(), **_OPTIONS)


def _connect() -> psycopg.Connection[Any]:
    return psycopg.connect(**_parameters(), **_OPTIONS)


def _parameters() -> dict[str, Any]:
    given = connections["default"].get_connection_params()
    return {name: value for name, value in given.items() if name not in DJANGO_ONLY}


_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
