"""The staged writer of PostgreSQL targets: the warehouse and foreign databases share it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.types.json import Jsonb

from apps.connectors.base import Writer
from apps.connectors.choices import Disposition
from apps.connectors.contracts import LOAD_ID, ROW_ID, Control, StagedPart, WriteRequest, WriteResult
from apps.connectors.exceptions import (
    ConfigInvalid,
    DuplicateKeys,
    EmptyExtract,
    SchemaChanged,
    StagingLost,
    TargetBusy,
)
from apps.connectors.sql import merge, swap
from apps.connectors.sql.endpoint import Endpoint
from apps.connectors.sql.errors import translated
from apps.connectors.sql.locks import exclusive
from apps.connectors.sql.reading import stream_batches
from apps.connectors.sql.staging import StagingArea
from apps.connectors.sql.stats import compute_totals, empty_totals
from apps.connectors.sql.tables import (
    Column,
    Session,
    Table,
    check_writable,
    count_rows,
    create_columns,
    evolve_table,
    find_table,
    identifier,
    names_list,
    plan_columns,
    short_name,
)
from apps.core.clock import now

FINISH_SETTINGS = """
SET LOCAL lock_timeout = '10s'; SET LOCAL maintenance_work_mem = '256MB'; SET LOCAL work_mem = '128MB';
SET LOCAL hash_mem_multiplier = 2; SET LOCAL max_parallel_maintenance_workers = 2; SET LOCAL jit = off;
SET LOCAL parallel_tuple_cost = 0.001
"""
SCD2_COLUMNS = (
    Column(merge.VALID_FROM, "timestamp with time zone", required=True),
    Column(merge.VALID_TO, "timestamp with time zone"),
    Column(merge.IS_CURRENT, "boolean", required=True),
    Column(merge.ROW_HASH, "uuid"),
)


class PostgresWriter(Writer):
    """Stages in parallel, then merges or swaps in one transaction with the load's marker."""

    def __init__(self, endpoint: Endpoint, schema: str, table: str, request: WriteRequest) -> None:
        """Check the request; nothing is opened yet.

        Raises:
            ConfigInvalid: upsert or scd2 without keys, or keys that are not fields.
        """
        super().__init__(request)
        if request.disposition in {Disposition.UPSERT, Disposition.SCD2} and not request.keys:
            raise ConfigInvalid(
                f"{request.disposition} needs keys that identify a row.", field="keys", remedy="Choose the key fields."
            )
        unknown = set(request.keys) - set(request.schema.names)
        if unknown:
            raise ConfigInvalid(f"The keys {sorted(unknown)} are not fields of the load.", field="keys")
        self._endpoint = endpoint
        self._schema = schema
        self._table = table
        self._staging = StagingArea(endpoint, schema, table, request)
        self._names = merge.Names(schema, self._staging.name, table, request.keys, request.schema.names)
        self._index = short_name(self._staging.name, "_key")

    def stage(self, batches: Iterable[pa.RecordBatch], *, part: str) -> StagedPart:
        """Write one part through two parallel binary COPY streams; see `Writer.stage`."""
        return self._staging.stage(batches, part=part)

    def stage_select(self, select: str, *, part: str, snapshot: str | None = None) -> StagedPart:
        """Stage the rows of a statement inside this database; see `Writer.stage_select`."""
        return self._staging.stage_select(select, part=part, snapshot=snapshot)

    def staged_stats(self, parts: Sequence[StagedPart], controls: Sequence[Control]) -> dict[str, str | None]:
        """Control totals over the staged rows; see `Writer.staged_stats`."""
        if not any(part.rows for part in parts):
            return empty_totals(controls)
        with translated(entity=self.request.entity), self._endpoint.connect() as session, session.transaction():
            session.execute(FINISH_SETTINGS)
            with exclusive(session, self._staging.identifier, self._quoted(self._staging.name), terminate=True):
                self._staging.verify(session, parts)
                return compute_totals(session, self._staging.identifier, controls, [])

    def duplicates(self, parts: Sequence[StagedPart]) -> Iterator[pa.RecordBatch]:
        """Staged rows that lose to a later one; see `Writer.duplicates`.

        Looks for them by building the key's index, which the load needs anyway.
        """
        if not self.request.keys or not any(part.rows for part in parts):
            return
        with translated(entity=self.request.entity, writing=True):
            with self._endpoint.connect(autocommit=False) as session:
                session.execute(FINISH_SETTINGS)
                with exclusive(session, self._staging.identifier, self._quoted(self._staging.name), terminate=True):
                    self._staging.verify(session, parts)
                    unique = self._index_keys(session)
                session.commit()
        if not unique:
            columns = [*self.request.schema.names, ROW_ID]
            yield from stream_batches(self._endpoint, self._schema, self._staging.name, columns, self._names)

    def finish(self, parts: Sequence[StagedPart], *, allow_empty: bool, marker: str) -> WriteResult:
        """One transaction: merge or swap, and the marker; see `Writer.finish`."""
        with translated(entity=self.request.entity, writing=True), self._endpoint.connect() as session:
            self._staging.ensure_control_tables(session)
            try:
                with session.transaction():
                    session.execute(FINISH_SETTINGS)
                    session.execute(
                        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"aip:{self._schema}.{self._table}",)
                    )
                    known = self._find_result(session)
                    if known is not None:
                        return known.again()
                    self._staging.check_not_aborted(session)
                    return self._load(session, parts, allow_empty=allow_empty, marker=marker)
            except psycopg.errors.LockNotAvailable as error:
                raise TargetBusy(f"{self.request.entity} is kept locked by other sessions.") from error

    def abort(self) -> None:
        """Drop the staging table; see `Writer.abort`."""
        with translated(entity=self.request.entity), self._endpoint.connect() as session:
            self._staging.ensure_control_tables(session)
            with session.transaction():
                self._staging.drop(session)
                self._staging.mark_aborted(session)

    def _load(self, session: Session, parts: Sequence[StagedPart], *, allow_empty: bool, marker: str) -> WriteResult:
        request = self.request
        rows = sum(part.rows for part in parts)
        if rows == 0 and not allow_empty and (request.disposition == Disposition.REPLACE or request.retire_missing):
            raise EmptyExtract(
                f"The extract for {request.entity} has no rows, so its existing rows were kept.", value=request.entity
            )
        target = find_table(session, self._schema, self._table)
        check_writable(target, request.entity)
        nothing_to_do = rows == 0 and target is not None and not request.retire_missing
        if nothing_to_do and request.disposition != Disposition.REPLACE:
            return self._record(session, WriteResult(rows=0, facts={"how": "nothing"}), marker)
        columns = self._staged_columns(session, parts, target, rows)
        load_id = self._next_load_id(session)
        duplicates = self._settle_duplicates(session)
        staged = rows - duplicates
        if request.disposition == Disposition.SCD2:
            result = self._version(session, target, columns, staged, load_id)
        elif request.disposition == Disposition.REPLACE:
            result = self._replace(session, target, columns, staged, load_id)
        else:
            result = self._merge(session, target, columns, staged, load_id)
        result = WriteResult(
            rows=rows,
            inserted=result.inserted,
            updated=result.updated,
            unchanged=result.unchanged,
            deleted=result.deleted,
            duplicates=duplicates,
            load_id=load_id,
            facts=result.facts,
        )
        return self._record(session, result, marker)

    def _record(self, session: Session, result: WriteResult, marker: str) -> WriteResult:
        """Drop the staging area and write the load's marker."""
        request = self.request
        self._staging.drop(session)
        if result.load_id is None:
            result = replace(result, load_id=self._next_load_id(session))
        session.execute(
            sql.SQL(
                "INSERT INTO {} (load_id, run_id, entity, marker, disposition, description, result) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)"
            ).format(self._staging.loads),
            (
                result.load_id,
                request.run_id,
                self._table,
                marker,
                str(request.disposition),
                request.description,
                Jsonb(result.to_json()),
            ),
        )
        return result

    def _next_load_id(self, session: Session) -> int:
        row = session.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'load_id'))", (self._quoted("_aip_loads"),)
        ).fetchone()
        return int(row[0]) if row else 0

    def _staged_columns(
        self, session: Session, parts: Sequence[StagedPart], target: Table | None, rows: int
    ) -> tuple[Column, ...]:
        staged = find_table(session, self._schema, self._staging.name)
        if staged is None:
            if rows:
                raise StagingLost("The staging table of this run is gone.")
            columns = (*plan_columns(self.request, target), Column(ROW_ID, "bigint"))
            statement = sql.SQL("CREATE TABLE {} ({}) WITH (autovacuum_enabled = false)")
            session.execute(statement.format(self._staging.identifier, create_columns(columns)))
            return columns
        with exclusive(session, self._staging.identifier, self._quoted(self._staging.name), terminate=True):
            self._staging.verify(session, parts)
        found = count_rows(session, self._schema, self._staging.name)
        if found != rows:
            raise StagingLost(f"{found} rows are staged, {rows} were reported.")
        return staged.columns

    def _settle_duplicates(self, session: Session) -> int:
        if not self.request.keys or self._index_keys(session):
            return 0
        if self.request.on_duplicate == "refuse":
            raise DuplicateKeys(
                f"Several rows of this load have the same {', '.join(self.request.keys)}.", value=self.request.entity
            )
        removed = merge.delete_duplicates(session, self._names)
        self._index_keys(session)
        return removed

    def _index_keys(self, session: Session) -> bool:
        """Make the unique index on the staged keys; False when they are not unique."""
        try:
            with session.transaction():
                session.execute(
                    sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} ({})").format(
                        sql.Identifier(self._index), self._staging.identifier, names_list(self.request.keys)
                    )
                )
        except psycopg.errors.UniqueViolation:
            return False
        return True

    def _replace(
        self, session: Session, target: Table | None, columns: tuple[Column, ...], rows: int, load_id: int
    ) -> WriteResult:
        deleted = count_rows(session, self._schema, self._table) if target is not None else 0
        facts = self._swap_or_copy(session, target, columns, load_id, truncate=True)
        return WriteResult(rows, inserted=rows, deleted=deleted, facts=facts)

    def _merge(
        self, session: Session, target: Table | None, columns: tuple[Column, ...], rows: int, load_id: int
    ) -> WriteResult:
        if target is None or not self._has_rows(session):
            facts = self._swap_or_copy(session, target, columns, load_id, truncate=False)
            return WriteResult(rows, inserted=rows, facts=facts)
        session.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(self._names.table))
        changes = self._evolve(session, target, columns)
        self._ensure_unique(session, target)
        if self.request.disposition == Disposition.APPEND:
            swap.add_load_id(session, self._schema, self._staging.name, load_id)
            swap.copy_in(session, self._schema, self._staging.name, self._table, self._all_columns())
            return WriteResult(rows, inserted=rows, facts={"how": "insert", "schema_changes": changes})
        difference = merge.compare(session, self._names, rows=rows)
        existing = target.estimate if target.estimate >= 0 else count_rows(session, self._schema, self._table)
        rebuild = merge.prefers_rebuild(
            difference, staged=rows, existing=existing, retire_missing=self.request.retire_missing
        )
        if rebuild and swap.can_swap(session, target):
            deleted = self._rebuild(session, difference, load_id)
        else:
            rebuild = False
            deleted = merge.delete_missing(session, self._names) if self.request.retire_missing else 0
            merge.prepare_lookup(session, difference)
            merge.apply_difference(session, self._names, load_id)
        return WriteResult(
            rows,
            inserted=difference.new,
            updated=difference.changed,
            unchanged=difference.unchanged,
            deleted=deleted,
            facts={"how": "rebuild" if rebuild else "merge", "schema_changes": changes},
        )

    def _rebuild(self, session: Session, difference: merge.Difference, load_id: int) -> int:
        """The staging table becomes the target, after it took over the rows that this load does not touch."""
        target = find_table(session, self._schema, self._table)
        if target is None:
            raise StagingLost("The target was dropped during the load.")
        swap.add_load_id(session, self._schema, self._staging.name, load_id)
        swap.add_missing_columns(session, self._schema, self._staging.name, target, set(self._all_columns()))
        others = count_rows(session, self._schema, self._table) - difference.changed - difference.unchanged
        if others and not self.request.retire_missing:
            merge.keep_others(session, self._names, [one.name for one in target.columns])
        deleted = others if self.request.retire_missing else 0
        swap.swap_in(session, self._schema, self._staging.name, self._table, target, self.request.keys, self._index)
        swap.analyze(session, self._schema, self._table)
        return deleted

    def _version(
        self, session: Session, target: Table | None, columns: tuple[Column, ...], rows: int, load_id: int
    ) -> WriteResult:
        changes: list[str] = []
        if target is None:
            created = (*columns, Column(LOAD_ID, "bigint", required=True), *SCD2_COLUMNS)
            session.execute(sql.SQL("CREATE TABLE {} ({})").format(self._names.table, create_columns(created)))
        else:
            if target.find_column(merge.IS_CURRENT) is None and self._has_rows(session):
                raise SchemaChanged(
                    f"{self.request.entity} keeps no versions, and it already has rows.",
                    field="disposition",
                    remedy="Load versions into a new entity.",
                )
            changes = self._evolve(session, target, (*columns, *SCD2_COLUMNS))
        session.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(self._names.table))
        session.execute(
            sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} ({}) WHERE is_current").format(
                sql.Identifier(short_name(self._table, "_current")), self._names.table, names_list(self.request.keys)
            )
        )
        changed_at = self.request.changed_at or now().isoformat()
        datetime.fromisoformat(changed_at)
        difference = merge.compare(session, self._names, rows=rows, current_only=True)
        deleted = merge.close_missing(session, self._names, changed_at) if self.request.retire_missing else 0
        merge.prepare_lookup(session, difference)
        merge.close_versions(session, self._names, changed_at)
        merge.insert_versions(session, self._names, load_id, changed_at)
        return WriteResult(
            rows,
            inserted=difference.new,
            updated=difference.changed,
            unchanged=difference.unchanged,
            deleted=deleted,
            facts={"how": "versions", "schema_changes": changes},
        )

    def _swap_or_copy(
        self, session: Session, target: Table | None, columns: tuple[Column, ...], load_id: int, *, truncate: bool
    ) -> dict[str, Any]:
        swap.add_load_id(session, self._schema, self._staging.name, load_id)
        if swap.can_swap(session, target):
            if target is not None:
                swap.add_missing_columns(session, self._schema, self._staging.name, target, set(self._all_columns()))
            index = self._index if self.request.keys else None
            swap.swap_in(session, self._schema, self._staging.name, self._table, target, self.request.keys, index)
            swap.analyze(session, self._schema, self._table)
            return {"how": "swap"}
        if target is None:
            raise StagingLost("The target was dropped during the load.")
        changes = self._evolve(session, target, columns)
        if truncate:
            session.execute(sql.SQL("TRUNCATE {}").format(self._names.table))
        swap.copy_in(session, self._schema, self._staging.name, self._table, self._all_columns())
        swap.analyze(session, self._schema, self._table)
        return {"how": "copy", "schema_changes": changes}

    def _evolve(self, session: Session, target: Table, columns: tuple[Column, ...]) -> list[str]:
        return evolve_table(session, self._schema, self._table, target, (*columns, Column(LOAD_ID, "bigint")))

    def _ensure_unique(self, session: Session, target: Table) -> None:
        if not self.request.keys or frozenset(self.request.keys) in target.unique_keys:
            return
        session.execute(
            sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} ({})").format(
                sql.Identifier(short_name(self._table, "_key")), self._names.table, names_list(self.request.keys)
            )
        )

    def _all_columns(self) -> list[str]:
        return [*self.request.schema.names, ROW_ID, LOAD_ID]

    def _has_rows(self, session: Session) -> bool:
        row = session.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(self._names.table)).fetchone()
        return bool(row and row[0])

    def _find_result(self, session: Session) -> WriteResult | None:
        row = session.execute(
            sql.SQL("SELECT result FROM {} WHERE run_id = %s AND entity = %s").format(self._staging.loads),
            (self.request.run_id, self._table),
        ).fetchone()
        return WriteResult.from_json(row[0]) if row else None

    def _quoted(self, name: str) -> str:
        return identifier(self._schema, name).as_string()
