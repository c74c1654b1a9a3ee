"""Files as tables: each CSV, NDJSON or Parquet file, and each sheet of an Excel file, is an entity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.base import CheckRun, ConnectorBase, Writer
from apps.connectors.catalog.files import inference, plain_csv, records, tabular
from apps.connectors.catalog.files.storage import Storage
from apps.connectors.catalog.files.writer import FilesWriter
from apps.connectors.choices import EntityKind, PartitionKind
from apps.connectors.contracts import (
    SOURCE_POSITION,
    CheckResult,
    CursorRange,
    EntityField,
    EntityPage,
    EntityRef,
    EntitySchema,
    Partition,
    ReadRequest,
    RejectedRecord,
    WriteRequest,
)
from apps.connectors.exceptions import ColumnGone, ConfigInvalid, SchemaChanged

CSV, NDJSON, PARQUET, XLSX = "csv", "ndjson", "parquet", "xlsx"
FORMATS = {
    ".csv": CSV,
    ".tsv": CSV,
    ".txt": CSV,
    ".ndjson": NDJSON,
    ".jsonl": NDJSON,
    ".parquet": PARQUET,
    ".xlsx": XLSX,
}
MAX_REJECTED_ROWS = 10_000


class FilesConnector(ConnectorBase):
    """Reads and writes files below one root; entities are paths, `book.xlsx#Sheet` for one sheet of several."""

    def connect(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Take the settings; the storage opens when it is needed."""
        self.config = dict(config)
        self._storage = Storage.open(config, secrets, self.context)

    def disconnect(self) -> None:
        """Nothing is held open."""

    def check(self) -> CheckResult:
        """List the storage."""
        run = CheckRun()
        run.step("List files", self._storage.check)
        return run.result("The files are reachable.")

    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """Readable files by path. An Excel file is one entity, its first sheet; `path#sheet` names another."""
        wanted = search.lower()
        names = (
            one.path
            for one in self._storage.walk()
            if wanted in one.path.lower() and (cursor is None or one.path > cursor)
        )
        page = [name for name, _ in zip(names, range(limit + 1), strict=False)]
        found = tuple(EntityRef(name, name, EntityKind.FILE) for name in page[:limit])
        return EntityPage(found, found[-1].name if len(page) > limit else None)

    def describe(self, entity: str) -> EntitySchema:
        """Fields with types inferred from the first records; decimals for amounts, never floats."""
        path, sheet = split_entity(entity)
        rows: int | None = None
        with self._storage.local_copy(path) as local:
            kind = format_of(path)
            if kind == CSV:
                dialect = tabular.find_dialect(local, self.config, path)
                fields = self._infer(tabular.sample_csv(local, dialect, path, self._storage.spill))
            elif kind == XLSX:
                table = tabular.read_xlsx(local, sheet, self.config, path)
                rows = table.num_rows
                sample = table.slice(0, tabular.SAMPLE_ROWS)
                fields = self._infer({name: sample.column(name).to_pylist() for name in sample.schema.names})
            elif kind == NDJSON:
                fields = records.sample_ndjson(local, path)
            else:
                fields, rows, _groups = records.parquet_fields(local, path)
        return EntitySchema(entity, fields, (), inference.rank_cursors(fields), (), EntityKind.FILE, row_estimate=rows)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """Stream the file; see `ConnectorBase.read`. The position is the record's ordinal."""
        schema = self.describe(request.entity)
        names = self._checked_columns(schema, request)
        needed = list(dict.fromkeys([*names, *([request.cursor.column] if request.cursor else [])]))
        left = request.limit
        text_only = request.text_only or bool(self.config.get("text_only"))
        for batch in self._batches(request, schema, needed, text_only=text_only):
            kept = _within(batch, request.cursor) if request.cursor is not None else batch
            kept = kept.select([*names, SOURCE_POSITION])
            if left is not None:
                kept = kept.slice(0, left)
                left -= kept.num_rows
            if kept.num_rows:
                yield kept
            if left == 0:
                return

    def plan_partitions(self, entity: str, count: int, *, column: str | None = None) -> tuple[Partition, ...]:
        """Parquet files are cut by row groups; the other formats are read as one stream."""
        del column
        path, _sheet = split_entity(entity)
        if format_of(path) != PARQUET or count <= 1:
            return (Partition(),)
        with self._storage.local_copy(path) as local:
            _fields, rows, groups = records.parquet_fields(local, path)
        parts = min(count, groups)
        if parts <= 1:
            return (Partition(row_estimate=rows),)
        ends = [groups * index // parts for index in range(parts + 1)]
        return tuple(
            Partition(index, parts, PartitionKind.BLOCKS, None, str(ends[index]), str(ends[index + 1]), rows // parts)
            for index in range(parts)
        )

    def open_writer(self, request: WriteRequest) -> Writer:
        """Write a CSV, NDJSON or Parquet file, exchanged in one step."""
        path, sheet = split_entity(request.entity)
        kind = format_of(path)
        if kind == XLSX or sheet:
            raise ConfigInvalid("Excel files are not written.", field="entity", remedy="Choose .csv or .parquet.")
        return FilesWriter(self._storage, path, kind, request)

    def _infer(self, columns: dict[str, list[str | None]]) -> tuple[EntityField, ...]:
        if self.config.get("text_only"):
            return tuple(EntityField(name, "VARCHAR", "text", position=i) for i, name in enumerate(columns))
        return inference.infer_fields(columns, str(self.config.get("decimal_separator") or "."))

    def _checked_columns(self, schema: EntitySchema, request: ReadRequest) -> list[str]:
        wanted = list(request.columns) if request.columns is not None else list(schema.names)
        cursor = [request.cursor.column] if request.cursor is not None else []
        gone = [name for name in [*wanted, *cursor] if name not in schema.names]
        if gone:
            raise ColumnGone(
                f"{request.entity} no longer has the column {', '.join(gone)}.", field=gone[0], value=request.entity
            )
        changes = []
        for field in request.expected.fields if request.expected is not None else ():
            actual = schema.find_field(field.name)
            if field.name in wanted and actual is not None and not _same_kind(actual.type, field.type):
                changes.append(f"{field.name} was {field.type} and is {actual.type}")
        if changes:
            raise SchemaChanged(f"{request.entity} changed: {'; '.join(changes)}.", value=request.entity)
        return wanted

    def _batches(
        self, request: ReadRequest, schema: EntitySchema, names: list[str], *, text_only: bool
    ) -> Iterator[pa.RecordBatch]:
        path, sheet = split_entity(request.entity)
        kind = format_of(path)
        expected = {field.name: field.type for field in request.expected.fields} if request.expected else {}
        types = {}
        for field in schema.fields:
            same = field.name in expected and _same_kind(field.type, expected[field.name])
            types[field.name] = expected[field.name] if same else field.type
        with self._storage.local_copy(path) as local:
            if kind == PARQUET:
                part = request.partition
                groups = range(int(part.lower or 0), int(part.upper or 0)) if part is not None and part.upper else None
                found = records.read_parquet(local, names, path, batch_rows=request.batch_rows, groups=groups)
                for batch, position in found:
                    yield _positioned(batch, position)
            elif kind == NDJSON:
                fields = [field for field in schema.fields if field.name in names]
                for table, line in records.read_ndjson(local, fields, path, self.rejected):
                    yield from self._from_lines(table, line, names, types, request.batch_rows, text_only=text_only)
            elif kind == XLSX:
                table = tabular.read_xlsx(local, sheet, self.config, path)
                position = 0
                for batch in table.select(names).to_batches(request.batch_rows):
                    yield self._typed(batch, names, types, position, text_only=text_only)
                    position += batch.num_rows
            else:
                yield from self._csv_batches(local, path, names, types, request.batch_rows, text_only=text_only)

    def _csv_batches(
        self, local: Path, path: str, names: list[str], types: dict[str, str], batch_rows: int, *, text_only: bool
    ) -> Iterator[pa.RecordBatch]:
        dialect = tabular.find_dialect(local, self.config, path)
        with tabular.utf8_copy(local, dialect, path, self._storage.spill) as plain:
            position = 0
            for batch in self._text_batches(plain, dialect, path, names, types, batch_rows, text_only=text_only):
                yield self._typed(batch, names, types, position, text_only=text_only)
                position += batch.num_rows

    def _text_batches(
        self,
        plain: Path,
        dialect: tabular.Dialect,
        path: str,
        names: list[str],
        types: dict[str, str],
        batch_rows: int,
        *,
        text_only: bool,
    ) -> Iterator[pa.RecordBatch]:
        """Records as text, or typed already: the plain part of the file by the quick reader, the rest by the other."""
        separator = str(self.config.get("decimal_separator") or ".")
        columns = {
            name: pa.string()
            if text_only
            else plain_csv.parsed_type(inference.TextColumn(name, types[name]), separator)
            for name in names
        }
        for found in plain_csv.read_plain(plain, dialect, columns, batch_rows=batch_rows):
            if isinstance(found, pa.RecordBatch):
                yield found
                continue
            with plain_csv.remaining(plain, dialect, found, self._storage.spill) as (rest, written):
                for batch in tabular.read_csv(
                    rest, written, path, self.rejected, batch_rows=batch_rows, lines_before=found.lines
                ):
                    yield batch.select(names)

    def _from_lines(
        self,
        table: pa.Table,
        line: int,
        names: list[str],
        types: dict[str, str],
        batch_rows: int,
        *,
        text_only: bool,
    ) -> Iterator[pa.RecordBatch]:
        """Record batches of an NDJSON block; positions are line numbers."""
        if "_line" in table.schema.names:
            lines = table.column("_line").combine_chunks()
        else:
            lines = pa.array(np.arange(line, line + table.num_rows, dtype=np.int64))
        combined = table.select(names).combine_chunks()
        start = 0
        for batch in combined.to_batches(batch_rows):
            yield self._typed(batch, names, types, 0, text_only=text_only, positions=lines.slice(start, batch.num_rows))
            start += batch.num_rows

    def _typed(
        self,
        batch: pa.RecordBatch,
        names: list[str],
        types: dict[str, str],
        position: int,
        *,
        text_only: bool,
        positions: pa.Array | None = None,
    ) -> pa.RecordBatch:
        """Convert text to the columns' types; rows with a value that does not fit go to `rejected`."""
        separator = str(self.config.get("decimal_separator") or ".")
        arrays, bad = [], None
        reasons: dict[int, str] = {}
        for name in names:
            values = batch.column(name)
            if not pa.types.is_string(values.type) or text_only or types[name] == "VARCHAR":
                arrays.append(_as_text(values) if text_only else values)
                continue
            if types[name] not in inference.ARROW and not types[name].startswith("DECIMAL"):
                arrays.append(values)
                continue
            array, mask = inference.convert_text(values, inference.TextColumn(name, types[name]), separator)
            arrays.append(array)
            if mask is not None and mask.any():
                bad = mask if bad is None else bad | mask
                for row in np.flatnonzero(mask):
                    reasons.setdefault(int(row), f"{name} is {str(values[int(row)])[:100]!r}, not {types[name]}")
        ordinals = positions if positions is not None else pa.array(np.arange(position, position + batch.num_rows))
        typed = pa.RecordBatch.from_arrays([*arrays, ordinals], names=[*names, SOURCE_POSITION])
        if bad is None:
            return typed
        for index, reason in sorted(reasons.items()):
            if len(self.rejected) >= MAX_REJECTED_ROWS:
                raise SchemaChanged(
                    f"More than {MAX_REJECTED_ROWS} rows do not fit the types of the first ones: {reason}.",
                    remedy="Read every column as text, and convert in the mapping.",
                )
            payload = {name: value for name, value in batch.slice(index, 1).to_pylist()[0].items() if name in names}
            self.rejected.append(
                RejectedRecord(int(ordinals[index].as_py()), "connectors.value_type", f"{reason}.", payload)
            )
        return typed.filter(pa.array(~bad))


def split_entity(entity: str) -> tuple[str, str | None]:
    """Path and sheet of an entity name."""
    path, separator, sheet = entity.partition("#")
    return (path, sheet) if separator and format_of(path, strict=False) == XLSX else (entity, None)


def format_of(path: str, *, strict: bool = True) -> str:
    """The format, by the name's ending.

    Raises:
        ConfigInvalid: the ending is of no format that is known.
    """
    kind = FORMATS.get(Path(path.lower().removesuffix(".gz")).suffix, "")
    if not kind and strict:
        raise ConfigInvalid(
            f"{path} has an ending that is not known.",
            field="entity",
            value=path,
            remedy=f"Use one of {', '.join(FORMATS)}, or the text ones with .gz.",
        )
    return kind


def _same_kind(actual: str, planned: str) -> bool:
    """Inferred types vary with the sample; only a change of kind is a change."""
    numeric = ("BIGINT", "DECIMAL")
    if actual.startswith(numeric) and planned.startswith(numeric):
        return True
    return actual == planned or planned == "VARCHAR"


def _positioned(batch: pa.RecordBatch, position: int) -> pa.RecordBatch:
    ordinals = pa.array(np.arange(position, position + batch.num_rows, dtype=np.int64))
    names = [*batch.schema.names, SOURCE_POSITION]
    return pa.RecordBatch.from_arrays([*batch.columns, ordinals], names=names)


def _as_text(values: pa.Array) -> pa.Array:
    return values if pa.types.is_nested(values.type) else values.cast(pa.string())


def _within(batch: pa.RecordBatch, cursor: CursorRange) -> pa.RecordBatch:
    """The rows of a cursor range."""
    values = batch.column(cursor.column)
    mask = pc.is_valid(values)
    for text, inclusive, functions in (
        (cursor.lower, cursor.lower_inclusive, (pc.greater, pc.greater_equal)),
        (cursor.upper, cursor.upper_inclusive, (pc.less, pc.less_equal)),
    ):
        if text is not None:
            compared = functions[inclusive](values, _bound(text, values.type, cursor.column))
            mask = pc.and_(mask, pc.fill_null(compared, False))
    if cursor.include_null:
        mask = pc.or_(mask, pc.is_null(values))
    return batch.filter(mask)


def _bound(text: str, kind: pa.DataType, column: str) -> pa.Scalar:
    try:
        if pa.types.is_timestamp(kind):
            moment = datetime.fromisoformat(text)
            if kind.tz is None:
                moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
            elif moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return pa.scalar(moment, kind)
        if pa.types.is_date(kind):
            return pa.scalar(date.fromisoformat(text[:10]), kind)
        return pa.scalar(text).cast(kind)
    except (ValueError, pa.ArrowInvalid) as error:
        raise ConfigInvalid(f"{text!r} is no value of the cursor {column}: {error}.", field="cursor") from None


CONNECTOR = FilesConnector
