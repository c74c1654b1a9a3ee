"""PostgreSQL's errors as the portal's, by SQLSTATE; the few without one (while connecting) by what libpq reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import adbc_driver_manager
import psycopg

from apps.connectors.exceptions import (
    ColumnGone,
    ConnectorFailed,
    CredentialsRefused,
    DuplicateKeys,
    EntityGone,
    OutOfSpace,
    SnapshotGone,
    SystemUnavailable,
    TlsFailed,
    TransactionConflict,
    WriteRefused,
)
from apps.core.exceptions import PortalError

UNAVAILABLE_CLASSES = ("08", "53", "57")
ENTITY_STATES = {"42P01", "3F000"}
COLUMN_STATES = {"42703"}
SPACE_STATES = {"53100"}
SNAPSHOT_STATES = {"22023", "42704"}
REFUSED_VALUE_CLASSES = ("22", "23")
PASSING_WORDS = ("canceling statement", "terminating connection", "deadlock", "could not serialize", "out of memory")


@contextmanager
def translated(*, entity: str | None = None, writing: bool = False) -> Iterator[None]:
    """Raise the portal's error for whatever the drivers raise inside.

    Args:
        entity: name for the message.
        writing: whether values go into the system, so that a value's fault is the row's.
    """
    try:
        yield
    except (psycopg.Error, adbc_driver_manager.Error) as error:
        raise translate(error, entity=entity, writing=writing) from error


def translate(error: psycopg.Error | adbc_driver_manager.Error, *, entity: str | None, writing: bool) -> PortalError:
    """The portal's error for a driver's error."""
    state = str(getattr(error, "sqlstate", None) or "")
    text = _message(error)
    named = f" ({entity})" if entity else ""
    if state in SPACE_STATES:
        return OutOfSpace(f"The database server's disk is full{named}.")
    if state in ENTITY_STATES:
        return EntityGone(f"{entity or 'The entity'} does not exist in the database.", value=entity)
    if state in COLUMN_STATES:
        return ColumnGone(f"A column of {entity or 'the entity'} no longer exists: {text}", value=entity)
    if state == "42501":
        return EntityGone(
            f"The account may not use {entity or 'the object'}: {text}",
            value=entity,
            remedy="Grant the account the right (GRANT SELECT or INSERT), then try again.",
        )
    if state in SNAPSHOT_STATES and "snapshot" in text.lower():
        return SnapshotGone()
    if state == "23505":
        return DuplicateKeys(f"Two rows have the same key{named}: {_detail(error) or text}", value=entity)
    if writing and state[:2] in REFUSED_VALUE_CLASSES:
        return WriteRefused(
            f"The target refused a value{named}: {text}",
            value=entity,
            field=_column(error, text),
            remedy="Change the mapping of the field, or add a validation that keeps such rows out.",
        )
    if state.startswith("40"):
        return TransactionConflict(f"The database rolled the transaction back{named}: {text}")
    if state[:2] in UNAVAILABLE_CLASSES or (isinstance(error, psycopg.OperationalError) and not state):
        return SystemUnavailable(f"The database is not available: {text}")
    return ConnectorFailed(f"The database refused the statement{named}: {text}", value=entity, sqlstate=state or None)


def translate_stream(error: Exception) -> PortalError:
    """The portal's error for a fault while rows stream. The Arrow reader hands over the server's text, no SQLSTATE."""
    found = re.search(r"ERROR:\s+(.*)", str(error))
    text = (found[1] if found else _message(error)).strip()[:300].rstrip(".") + "."
    # Without a refusal of the server's it is the connection that broke.
    if found is None or any(word in text for word in PASSING_WORDS):
        return SystemUnavailable(f"The database stopped sending rows: {text}")
    return ConnectorFailed(f"The database refused the statement: {text}")


def translate_connect(error: psycopg.Error, *, host: str, database: str, user: str) -> PortalError:
    """The portal's error for a failed log-in. libpq gives no SQLSTATE here, only the server's text."""
    text = _message(error)
    lowered = text.lower()
    if "password" in lowered or "authentication" in lowered or re.search(r'role ".*" does not exist', lowered):
        return CredentialsRefused(f"{host} refused the log-in of {user}: {text}", field="user")
    if re.search(r'database ".*" does not exist', lowered):
        return EntityGone(
            f"There is no database {database} on {host}.",
            field="database",
            value=database,
            remedy="Check the spelling of the database name.",
        )
    if "pg_hba.conf" in lowered:
        return CredentialsRefused(
            f"{host} does not let {user} in from here: {text}",
            field="user",
            remedy="Ask the database's administrator to allow this account and address in pg_hba.conf.",
        )
    if "ssl" in lowered or "certificate" in lowered or "tls" in lowered:
        return TlsFailed(f"No encrypted connection to {host}: {text}", field="tls_mode")
    return SystemUnavailable(f"{host} did not accept the connection: {text}", field="host")


def _message(error: Exception) -> str:
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    text = str(primary or error)
    text = re.sub(r"^connection failed: ", "", text.strip())
    text = re.sub(r"^connection to server at .*? failed: ", "", text)
    text = re.sub(r"^[A-Z_]+: .*?ERROR:\s+", "", text, flags=re.DOTALL)
    text = re.sub(r"^(FATAL|ERROR):\s+", "", text)
    return (text.splitlines() or [""])[0].strip()[:300].rstrip(".") + "."


def _detail(error: Exception) -> str:
    return str(getattr(getattr(error, "diag", None), "message_detail", "") or "")[:300]


def _column(error: Exception, text: str) -> str | None:
    diag = getattr(error, "diag", None)
    named = getattr(diag, "column_name", None)
    if named:
        return str(named)
    found = re.search(r"column (\w+)", f"{getattr(diag, 'context', '') or ''} {text}")
    return found[1] if found else None
