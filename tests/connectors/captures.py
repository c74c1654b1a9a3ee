"""A real PostgreSQL source for change capture, captures on it, and what must be true of their events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from apps.access.contracts import Actor
from apps.connectors.models import ChangeCapture
from apps.connectors.services.capture_runner import CaptureOptions, CaptureRunner
from apps.connectors.services.captures import create_capture, delete_capture
from apps.connectors.services.connections import archive_connection, create_connection
from apps.events.models import Event
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.connectors.systems import server

SYSTEM = Actor.system("tests")
PASSWORD = "let me replicate"
QUICK = CaptureOptions(poll_s=0.05, lease_s=3.0, measure_s=3600)
WAIT_S = 30


@dataclass
class Source:
    """A database with an account that owns its tables and may replicate."""

    config: dict[str, Any]
    conninfo: str

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as session:
            session.execute(statement)


@contextmanager
def change_source(*, replication: bool = True) -> Iterator[Source]:
    """A database of its own with its owner; slots, database and owner are dropped afterwards."""
    where = server()
    name, owner = f"cdc_{uuid4().hex[:12]}", f"owner_{uuid4().hex[:12]}"
    admin = make_conninfo(**{**where, "dbname": "postgres"})
    with psycopg.connect(admin, autocommit=True) as session:
        session.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} {}").format(
                sql.Identifier(owner), sql.Literal(PASSWORD), sql.SQL("REPLICATION" if replication else "")
            )
        )
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        session.execute(sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(owner)))
    with psycopg.connect(make_conninfo(**{**where, "dbname": name}), autocommit=True) as session:
        session.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(sql.Identifier(owner)))
    host, port = str(where.get("host") or "127.0.0.1"), int(where.get("port") or 5432)
    config = {"host": host, "port": port, "database": name, "user": owner}
    conninfo = make_conninfo(host=host, port=port, dbname=name, user=owner, password=PASSWORD)
    source = Source(config, conninfo)
    try:
        yield source
    finally:
        with psycopg.connect(conninfo, autocommit=True) as session:
            mine = "FROM pg_replication_slots WHERE database = %s"
            session.execute(f"SELECT pg_terminate_backend(active_pid, 5000) {mine} AND active_pid IS NOT NULL", [name])
            session.execute(f"SELECT pg_drop_replication_slot(slot_name) {mine}", [name])
        with psycopg.connect(admin, autocommit=True) as session:
            _drop_database(session, name)
            session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(owner)))


def _drop_database(session: psycopg.Connection[Any], name: str) -> None:
    for attempt in range(50):
        try:
            session.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
            return
        except psycopg.errors.ObjectInUse:
            # The server notices a moment later that a session has ended; an autovacuum worker leaves by itself.
            if attempt == 49:
                raise
            time.sleep(0.2)


@contextmanager
def connected(tenant: Tenant, source: Source) -> Iterator[Any]:
    """A connection of the tenant to the source; it and its captures are gone afterwards. The tenant is entered."""
    with tenant_context(tenant):
        row = create_connection(
            f"Source {uuid4().hex[:8]}",
            "postgresql",
            config=source.config,
            secrets={"password": PASSWORD},
            actor=SYSTEM,
        )
        try:
            yield row
        finally:
            for capture_id in list(row.captures.values_list("id", flat=True)):
                delete_capture(capture_id, force=True, actor=SYSTEM)
            archive_connection(row.id, actor=SYSTEM)


def capture(connected_: Any, *tables: str, **settings: Any) -> ChangeCapture:
    """A capture of these tables."""
    return create_capture(f"Capture {uuid4().hex[:8]}", connected_.id, tables, **settings, actor=SYSTEM)


@contextmanager
def capturing(options: CaptureOptions = QUICK) -> Iterator[CaptureRunner]:
    """The process that captures, as a thread."""
    runner = CaptureRunner(options)
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        thread.join(20)
        assert not thread.is_alive()


def events_of(capture_id: UUID, type_: str = "row.changed.v1") -> list[dict[str, Any]]:
    """Data of the capture's events, in the order in which they were appended."""
    found = Event.objects.filter(type=f"com.analytics-portal.{type_}", data__capture=str(capture_id))
    return list(found.order_by("arrival").values_list("data", flat=True))


def wait_for(is_true: Callable[[], Any], what: str, *, timeout_s: float = WAIT_S) -> None:
    """Return when it is true.

    Raises:
        AssertionError: it does not become so.
    """
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
        time.sleep(0.02)


def wait_until_streaming(row: ChangeCapture) -> None:
    wait_for(lambda: reload(row).phase == "streaming", "the end of the snapshot")


def reload(row: ChangeCapture) -> ChangeCapture:
    row.refresh_from_db()
    return row


def mark(source: Source, table: str, key: int) -> None:
    """A last change, after which everything before has been captured."""
    source.execute(f"INSERT INTO {table} (id, version) VALUES ({key}, 1)")


def wait_for_key(capture_id: UUID, key: int) -> None:
    """Return when the event of that key is in the log."""
    found = Event.objects.filter(data__capture=str(capture_id), data__key__id=key)
    wait_for(found.exists, f"the event of key {key}")


def check_history(events: list[dict[str, Any]], rows: dict[Any, int]) -> None:
    """No gap, no double, in order: per key each version follows the one before, and the last one is the table's.

    Args:
        events: of tables with `id` and `version`, where every change adds one to the version.
        rows: id -> version in the source now.
    """
    known: dict[Any, int | None] = {}
    for event in events:
        key, op = event["key"]["id"], event["op"]
        if op == "read":
            assert key not in known, f"{key} was read twice or after a change"
            known[key] = event["after"]["version"]
        elif op == "insert":
            assert known.get(key) is None, f"{key} was inserted twice"
            known[key] = event["after"]["version"]
        elif op == "update":
            assert event["after"]["version"] == (known.get(key) or 0) + 1, f"{key}: {known.get(key)} then {event}"
            known[key] = event["after"]["version"]
        else:
            assert known.get(key) is not None, f"{key} was deleted twice"
            known[key] = None
    found = {key: version for key, version in known.items() if version is not None}
    assert not {key: (version, rows.get(key)) for key, version in found.items() if rows.get(key) != version}
    assert not rows.keys() - found.keys()


def versions(source: Source, table: str) -> dict[Any, int]:
    with psycopg.connect(source.conninfo) as session:
        return dict(session.execute(f"SELECT id, version FROM {table}").fetchall())


class Writer:
    """Changes random rows of a table, one small transaction after the other, until it is stopped."""

    def __init__(self, source: Source, table: str, keys: str) -> None:
        """`keys` is the expression of a random key."""
        self._stop = threading.Event()
        self._source = source
        self._statement = (
            f"WITH chosen AS (SELECT {keys} AS id FROM generate_series(1, 5)) "
            f"UPDATE {table} SET version = version + 1 WHERE id IN (SELECT id FROM chosen)"
        )
        self.count = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        with psycopg.connect(self._source.conninfo, autocommit=True) as session:
            while not self._stop.is_set():
                session.execute(self._statement)
                self.count += 1
                time.sleep(0.002)
