"""A PostgreSQL database as a source of changes: slot, first snapshot, stream, health, and leaving no trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from apps.connectors.capture.pgoutput import Values
from apps.connectors.capture.requirements import Findings, examine, publication_sql
from apps.connectors.capture.rows import CapturedTable, parse_lsn
from apps.connectors.capture.snapshots import is_native
from apps.connectors.capture.stream import ReplicationStream
from apps.connectors.exceptions import CaptureRefused, CaptureSlotLost
from apps.connectors.sql.discovery import split_name
from apps.connectors.sql.endpoint import SESSION_SETTINGS, Endpoint
from apps.connectors.sql.errors import translated
from apps.connectors.sql.tables import Session

CHUNK_ROWS = 500
# The text of a value must be the same in the snapshot and in the stream: it orders keys. The stream knows no row
# security, so a snapshot that it would filter is an error.
TEXT_SETTINGS = {**SESSION_SETTINGS, "bytea_output": "hex", "client_encoding": "UTF8", "row_security": "off"}

SLOT_QUERY = """
SELECT s.active_pid, s.confirmed_flush_lsn - '0/0'::pg_lsn, coalesce(s.wal_status, 'reserved'), s.safe_wal_size,
       pg_current_wal_lsn() - s.restart_lsn, pg_current_wal_lsn() - s.confirmed_flush_lsn
FROM pg_replication_slots s WHERE s.slot_name = %s
"""


@dataclass(frozen=True)
class NewSlot:
    """A slot that was just made; the snapshot can be entered until `close`."""

    consistent_lsn: int
    snapshot: str
    session: psycopg.Connection[Any]

    def close(self) -> None:
        """Let the exported snapshot go."""
        self.session.close()


@dataclass(frozen=True)
class SlotState:
    """A replication slot as the server sees it.

    Attributes:
        active_pid: who reads it.
        confirmed_lsn: up to where the reader said it is done.
        wal_status: `reserved`, `extended`, `unreserved` or `lost`.
        safe_bytes: how much the server can still write before the slot is lost; None without such a limit.
        retained_bytes: log that the server keeps because of the slot.
        lag_bytes: log that the reader has not confirmed.
    """

    active_pid: int | None
    confirmed_lsn: int
    wal_status: str
    safe_bytes: int | None
    retained_bytes: int
    lag_bytes: int


class ChangeSource:
    """The database of one connection, for change capture. Not thread-safe."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Keep the address; sessions open when they are needed."""
        self._endpoint = endpoint
        self._session: Session | None = None
        self._types: dict[tuple[int, int], str] = {}

    def close(self) -> None:
        """Close the session that looks around."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def examine(self, names: list[str], *, publication: str, is_own: bool) -> Findings:
        """See `requirements.examine`."""
        with translated():
            return examine(self._control(), names, publication=publication, is_own=is_own)

    def describe(self, names: list[str], *, publication: str, is_own: bool) -> list[CapturedTable]:
        """The tables as they are.

        Raises:
            CaptureRefused: something is in the way; its problems say what, and which statements help.
        """
        found = self.examine(names, publication=publication, is_own=is_own)
        if found.problems:
            first = found.problems[0]
            raise CaptureRefused(
                " ".join(problem.message for problem in found.problems),
                field=first.path,
                problems=found.problems,
            )
        return found.tables

    def create_publication(self, name: str, tables: list[str]) -> None:
        """Make the publication unless it is there."""
        with translated():
            known = self._control().execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (name,)).fetchone()
            if known is None:
                self._control().execute(publication_sql(name, tables))

    def drop_publication(self, name: str) -> None:
        """Drop the publication; one that is gone is fine."""
        with translated():
            self._control().execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name)))

    def system_id(self) -> str:
        """Which server and database this is; a copy of the server has the same."""
        with translated():
            row = (
                self._control()
                .execute(
                    "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid FROM pg_database "
                    "WHERE datname = current_database()"
                )
                .fetchone()
            )
        return str(row[0]) if row else ""

    def create_slot(self, slot: str) -> NewSlot:
        """Make the slot and export the snapshot that ends where its stream begins."""
        session = self._replication_session()
        try:
            with translated():
                row = session.execute(
                    sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export')").format(
                        sql.Identifier(slot)
                    )
                ).fetchone()
            assert row is not None
            return NewSlot(parse_lsn(row[1]), str(row[2]), session)
        except BaseException:
            session.close()
            raise

    def slot_state(self, slot: str) -> SlotState | None:
        """The slot as the server sees it; None when there is none."""
        with translated():
            row = self._control().execute(SLOT_QUERY, (slot,)).fetchone()
        if row is None:
            return None
        pid, confirmed, status, safe, retained, lag = row
        return SlotState(
            pid,
            int(confirmed or 0),
            status,
            None if safe is None else int(safe),
            max(0, int(retained or 0)),
            max(0, int(lag or 0)),
        )

    def free_slot(self, slot: str) -> None:
        """End the session that still reads the slot, such as that of a process which was killed or is frozen."""
        with translated():
            self._control().execute(
                "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots "
                "WHERE slot_name = %s AND active_pid IS NOT NULL",
                (slot,),
            )

    def drop_slot(self, slot: str) -> None:
        """Drop the slot and whoever reads it; one that is gone is fine."""
        self.free_slot(slot)
        with translated():
            self._control().execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", (slot,)
            )

    def stream(self, slot: str, publication: str, start: int) -> ReplicationStream:
        """Begin to stream behind `start`.

        Raises:
            CaptureSlotLost: the slot no longer has what comes next.
        """
        session = self._replication_session()
        try:
            return ReplicationStream(session, slot, publication, start)
        except BaseException:
            session.close()
            state = self.slot_state(slot)
            if state is None or state.wal_status == "lost":
                raise CaptureSlotLost(value=slot) from None
            raise

    @contextlib.contextmanager
    def snapshot(self, exported: str | None) -> Iterator[TableReader]:
        """One consistent view: the exported one, or a new one."""
        with translated(), self._endpoint.connect(autocommit=True) as session:
            session.execute("; ".join(_settings()))
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if exported is not None:
                session.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(exported)))
            # The snapshot before the place: what it shows lies before that.
            shown = session.execute("SELECT pg_current_snapshot()::text").fetchone()
            place = session.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
            assert shown is not None and place is not None
            yield TableReader(session, str(shown[0]), parse_lsn(place[0]))
            session.execute("ROLLBACK")

    def type_name(self, type_oid: int, modifier: int) -> str:
        """A type as people write it."""
        known = self._types.get((type_oid, modifier))
        if known is None:
            with translated():
                row = self._control().execute("SELECT format_type(%s, %s)", (type_oid, modifier)).fetchone()
            known = self._types[type_oid, modifier] = str(row[0]) if row else str(type_oid)
        return known

    def _control(self) -> Session:
        if self._session is None or self._session.closed:
            self._session = self._endpoint.connect()
        return self._session

    def _replication_session(self) -> psycopg.Connection[Any]:
        return self._endpoint.connect_replication(_settings())


@dataclass(frozen=True)
class TableReader:
    """Reads tables by their keys in one view of the database."""

    session: Session
    snapshot: str
    lsn: int

    def read(self, table: CapturedTable, after: Sequence[str] | None) -> Iterator[list[Values]]:
        """Rows behind a key in the key's order, in chunks, as PostgreSQL's text."""
        order = [_order(table, position) for position in table.positions]
        where: sql.Composable = sql.SQL("")
        if after is not None:
            where = sql.SQL(" WHERE ({}) > ({})").format(
                sql.SQL(", ").join(order), sql.SQL(", ").join(sql.Literal(value) for value in after)
            )
        statement = sql.SQL("DECLARE portal_rows NO SCROLL CURSOR FOR SELECT {} FROM {}{} ORDER BY {}").format(
            sql.SQL(", ").join(sql.Identifier(name) for name, _oid, _type in table.columns),
            sql.Identifier(*split_name(table.name, "public")),
            where,
            sql.SQL(", ").join(order),
        )
        with translated(entity=table.name):
            self.session.execute(statement)
        while True:
            with translated(entity=table.name):
                result = self.session.execute(f"FETCH {CHUNK_ROWS} FROM portal_rows").pgresult
            assert result is not None
            width = range(result.nfields)
            rows: list[Values] = [[result.get_value(row, column) for column in width] for row in range(result.ntuples)]
            if rows:
                yield rows
            if len(rows) < CHUNK_ROWS:
                break
        with translated(entity=table.name):
            self.session.execute("CLOSE portal_rows")


def _order(table: CapturedTable, position: int) -> sql.Composable:
    name, type_oid = table.pairs[position]
    column = sql.Identifier(name)
    # `concat` writes a value exactly as the stream does; a cast to text would not (char(n), boolean).
    return column if is_native(type_oid) else sql.SQL('concat({}) COLLATE "C"').format(column)


def _settings() -> list[str]:
    return [
        sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)).as_string()
        for name, value in TEXT_SETTINGS.items()
    ]
