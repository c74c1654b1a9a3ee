"""Having a table alone, also against workers that were overtaken and do not know it yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from apps.connectors.sql.tables import Session


@contextmanager
def exclusive(session: Session, table: sql.Identifier, oid_of: str, *, terminate: bool) -> Iterator[None]:
    """Hold a table alone. With `terminate`, end sessions that still hold it: only overtaken workers touch staging.

    Raises:
        psycopg.errors.LockNotAvailable: others kept it for longer than the session's lock_timeout.
    """
    for attempt in range(3):
        try:
            with session.transaction():
                session.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
            break
        except psycopg.errors.LockNotAvailable:
            if attempt == 2:
                raise
            if terminate:
                _end_others(session, oid_of)
    yield


def _end_others(session: Session, table: str) -> None:
    """End the sessions that hold a lock on our staging table. The right to do so is the log-in's, not the role's."""
    row = session.execute("SELECT %s::regclass::oid", (table,)).fetchone()
    with session.transaction(force_rollback=True):
        session.execute("SET LOCAL ROLE NONE")
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = %s AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND pid <> pg_backend_pid()",
            (row[0] if row else None,),
        )
