"""What every PostgreSQL-speaking connector shares; the catalogue's folders say how the database is reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql

from apps.connectors.base import ConnectorBase, Snapshot, Writer
from apps.connectors.contracts import (
    EntityPage,
    EntitySchema,
    Partition,
    QueryRequest,
    ReadRequest,
    StatsRequest,
    Watermark,
    WriteRequest,
)
from apps.connectors.exceptions import ColumnGone, NotSupported, SchemaChanged, SystemUnavailable
from apps.connectors.sql import discovery, ranges, reading
from apps.connectors.sql.endpoint import Endpoint
from apps.connectors.sql.errors import translated
from apps.connectors.sql.merge import IS_CURRENT
from apps.connectors.sql.staging import LOADS_TABLE
from apps.connectors.sql.stats import compute_totals
from apps.connectors.sql.tables import Session, identifier
from apps.connectors.sql.writer import PostgresWriter


class PostgresSnapshot(Snapshot):
    """An exported snapshot; the transaction that exported it stays open."""

    def __init__(self, session: Session) -> None:
        """Export the snapshot of a new transaction on this session."""
        self._session: Session | None = session
        for statement in reading.transaction_statements(None):
            session.execute(statement)
        row = session.execute("SELECT pg_export_snapshot()").fetchone()
        self.id = str(row[0]) if row else ""

    def close(self) -> None:
        """End the transaction; readers that have begun keep their view."""
        if self._session is not None:
            self._session.close()
            self._session = None


class SqlConnector(ConnectorBase):
    """Reads and writes one PostgreSQL database (or one schema of it)."""

    endpoint: Endpoint
    default_schema: str = "public"
    only_schema: str | None = None
    qualify: bool = True

    def __init__(self, *args: Any) -> None:
        """Not connected yet."""
        super().__init__(*args)
        self._session: Session | None = None

    def disconnect(self) -> None:
        """Close the session that looks around; readers and writers close their own."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """Readable tables and views by name; the portal's own `_aip_…` tables are left out."""
        with translated():
            return discovery.list_entities(
                self._control(),
                schema=self.only_schema,
                search=search,
                cursor=cursor,
                limit=limit,
                qualify=self.qualify,
            )

    def describe(self, entity: str) -> EntitySchema:
        """Columns with DuckDB types, keys, and columns fit for incremental loads, best first."""
        return self._describe(entity).schema

    def read(self, request: ReadRequest) -> Iterator[Any]:
        """Stream the rows; see `ConnectorBase.read`."""
        described = self._describe(request.entity)
        names = self._checked_columns(described, request)
        columns = [
            replace(reading.plan_column(name, described.natives[name]), optional=name in request.optional)
            for name in names
        ]
        where = self._conditions(described, request.cursor, request.partition)
        source = sql.SQL("{} t").format(self._table(request.entity))
        statement = reading.select_statement(columns, source, where, request.limit).as_string()
        with translated(entity=request.entity):
            yield from reading.read_batches(
                self.endpoint,
                columns,
                statement,
                batch_rows=request.batch_rows,
                snapshot=request.snapshot,
                partition=request.partition.index if request.partition else 0,
                rejected=self.rejected,
            )

    def plan_partitions(self, entity: str, count: int, *, column: str | None = None) -> tuple[Partition, ...]:
        """Ranges of the integer key, or of the given column, or blocks of the table."""
        described = self._describe(entity)
        with translated(entity=entity):
            return ranges.plan_partitions(self._control(), described, self._table(entity), count, column)

    def open_snapshot(self) -> Snapshot:
        """One state of the database for several readers, in any process, while it is open."""
        with translated():
            return PostgresSnapshot(self.endpoint.connect(autocommit=False))

    def watermark(self, entity: str, column: str) -> Watermark:
        """See `apps.connectors.sql.ranges.find_watermark`."""
        described = self._describe(entity)
        with translated(entity=entity), self.endpoint.connect(autocommit=False) as session:
            for statement in reading.transaction_statements(None):
                session.execute(statement)
            found = ranges.find_watermark(session, described, self._table(entity), column)
            session.rollback()
            return found

    def stats(self, request: StatsRequest) -> dict[str, str | None]:
        """Control totals over the rows of the range, in the snapshot if one is given."""
        described = self._describe(request.entity)
        where = self._conditions(described, request.cursor, None)
        if request.current_only and IS_CURRENT in described.natives and "_row_hash" in described.natives:
            where.append(sql.SQL("t.is_current"))
        schema, name = self._split(request.entity)
        if request.run_id is not None:
            where.append(
                sql.SQL("t._load_id = (SELECT load_id FROM {} WHERE run_id = {} AND entity = {})").format(
                    identifier(schema, LOADS_TABLE), sql.Literal(request.run_id), sql.Literal(name)
                )
            )
        with translated(entity=request.entity), self.endpoint.connect(autocommit=False) as session:
            for statement in reading.transaction_statements(request.snapshot):
                session.execute(statement)
            totals = compute_totals(session, identifier(schema, name), request.controls, where)
            session.rollback()
            return totals

    def open_writer(self, request: WriteRequest) -> Writer:
        """A staged load; see `apps.connectors.sql.writer`."""
        schema, name = self._split(request.entity)
        return PostgresWriter(self.endpoint, schema, name, request)

    def query(self, request: QueryRequest) -> Iterator[Any]:
        """Rows of one SELECT in a read-only transaction; parameters are written as `%(name)s`."""
        with translated(), self.endpoint.connect(autocommit=False) as session:
            for statement in reading.transaction_statements(None):
                session.execute(statement)
            bound = psycopg.ClientCursor(session).mogrify(request.text, request.parameters or None)
            inner = sql.SQL("({}) t").format(sql.SQL(bound.strip().rstrip(";")))
            probe = session.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(inner))
            result = probe.pgresult
            width = result.nfields if result is not None else 0
            natives = session.execute(
                "SELECT format_type(type, mod) FROM unnest(%s::oid[], %s::int[]) "
                "WITH ORDINALITY AS u(type, mod, place) ORDER BY place",
                (
                    [result.ftype(index) for index in range(width)] if result is not None else [],
                    [result.fmod(index) for index in range(width)] if result is not None else [],
                ),
            ).fetchall()
            names = [one.name for one in probe.description or []]
            session.rollback()
        columns = [reading.plan_column(name, native[0]) for name, native in zip(names, natives, strict=True)]
        text = reading.select_statement(columns, inner, [], request.limit).as_string()
        with translated():
            yield from reading.read_batches(
                self.endpoint, columns, text, batch_rows=request.batch_rows, rejected=self.rejected
            )

    def pushdown_url(self) -> str | None:
        """Identity of the physical database: the server's own system identifier and the database's id."""
        with translated():
            row = (
                self._control()
                .execute(
                    "SELECT (SELECT system_identifier FROM pg_control_system())::text, "
                    "(SELECT oid FROM pg_database WHERE datname = current_database())::text"
                )
                .fetchone()
            )
        return f"postgresql:{row[0]}/{row[1]}" if row else None

    def table_sql(self, entity: str) -> str | None:
        """Quoted, qualified name of a table or view."""
        return self._table(entity).as_string()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session with the connection's role and search path, in a transaction that the caller commits."""
        with translated(), self.endpoint.connect(autocommit=False) as session:
            yield session

    def _control(self) -> Session:
        if self._session is None or self._session.closed:
            if not hasattr(self, "endpoint"):
                raise SystemUnavailable("The connection was not opened.")
            self._session = self.endpoint.connect()
        return self._session

    def _describe(self, entity: str) -> discovery.Described:
        schema, name = self._split(entity)
        with translated(entity=entity):
            return discovery.describe_entity(self._control(), schema, name, entity)

    def _split(self, entity: str) -> tuple[str, str]:
        if not self.qualify:
            return self.default_schema, entity
        return discovery.split_name(entity, self.default_schema)

    def _table(self, entity: str) -> sql.Identifier:
        return identifier(*self._split(entity))

    def _conditions(
        self, described: discovery.Described, cursor: Any, partition: Partition | None
    ) -> list[sql.Composable]:
        if cursor is not None and cursor.column not in described.natives:
            raise ColumnGone(
                f"{described.schema.name} has no column {cursor.column}, by which the load is incremental.",
                field="cursor",
                value=cursor.column,
            )
        if cursor is not None and cursor.since_snapshot and described.kind not in ranges.WITH_TRANSACTION_IDS:
            raise NotSupported(f"{described.schema.name} carries no transaction ids.", field="since_snapshot")
        conditions = ranges.cursor_conditions(cursor) if cursor is not None else []
        return conditions + (ranges.partition_conditions(partition) if partition is not None else [])

    def _checked_columns(self, described: discovery.Described, request: ReadRequest) -> list[str]:
        names = list(request.columns) if request.columns is not None else list(described.natives)
        gone = [name for name in names if name not in described.natives]
        if gone:
            raise ColumnGone(
                f"{request.entity} no longer has the column {', '.join(gone)}.", field=gone[0], value=request.entity
            )
        changes = []
        for field in request.expected.fields if request.expected is not None else ():
            actual = described.schema.find_field(field.name)
            if field.name in names and actual is not None and actual.type != field.type:
                changes.append(f"{field.name} was {field.type} and is {actual.type}")
        if changes:
            raise SchemaChanged(f"{request.entity} changed: {'; '.join(changes)}.", value=request.entity)
        return names
