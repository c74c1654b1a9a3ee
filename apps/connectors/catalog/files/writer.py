"""Files as targets: parts are staged beside the target, and one rename puts the finished file in its place."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from apps.connectors.base import Writer
from apps.connectors.catalog.files.inference import TextColumn, convert_text
from apps.connectors.catalog.files.records import read_ndjson
from apps.connectors.catalog.files.storage import Storage, storage_errors, temporary_file
from apps.connectors.choices import Disposition
from apps.connectors.contracts import ROW_ID, RejectedRecord, StagedPart, WriteRequest, WriteResult
from apps.connectors.exceptions import (
    DuplicateKeys,
    EmptyExtract,
    EntityGone,
    NotSupported,
    StagingLost,
    UnreadableInput,
    WriteRefused,
)
from apps.expressions.contracts import Field, Schema

STAGING = ".aip"
ABORTED = "aborted"
PENDING = "pending.json"


class FilesWriter(Writer):
    """Stages parts as Arrow files below `.aip/<run>/`, then writes the target file and its marker."""

    def __init__(self, storage: Storage, path: str, kind: str, request: WriteRequest) -> None:
        """Check the request; nothing is written yet.

        Raises:
            NotSupported: a disposition other than append or replace.
        """
        super().__init__(request)
        if request.disposition not in {Disposition.APPEND, Disposition.REPLACE}:
            raise NotSupported(
                f"Files cannot be loaded with {request.disposition}.", field="disposition", remedy="Use replace."
            )
        self._storage = storage
        self._path = path
        self._kind = kind
        self._existing_rows = 0
        self._compressed = path.endswith(".gz")
        target = hashlib.sha256(path.encode()).hexdigest()[:16]
        self._folder = f"{STAGING}/{request.run_id}/{target}"
        self._marker = f"{STAGING}/done/{request.run_id}-{target}.json"
        fields = [Field(one.name, one.type) for one in request.schema.fields]
        self._schema: pa.Schema = Schema((*fields, Field(ROW_ID, "BIGINT"))).to_arrow()

    def stage(self, batches: Iterable[pa.RecordBatch], *, part: str) -> StagedPart:
        """Write one part; see `Writer.stage`."""
        rows = 0
        with temporary_file(suffix=".arrow") as path:
            with storage_errors(self._path), pa.OSFile(str(path), "wb") as sink:
                with pa.ipc.new_file(sink, self._schema) as writer:
                    for batch in batches:
                        if batch.num_rows:
                            writer.write_batch(self._fitted(batch))
                            rows += batch.num_rows
            size_bytes = path.stat().st_size
            checksum = _digest(path)
            self._storage.put(path, self._part_path(part))
        if self._storage.read_bytes(f"{self._folder}/{ABORTED}") is not None:
            self._storage.remove_folder(f"{self._folder}/{ABORTED}")
        return StagedPart(part, rows, size_bytes, checksum)

    def duplicates(self, parts: Sequence[StagedPart]) -> Iterator[pa.RecordBatch]:
        """Rows that lose to a later one with the same key; see `Writer.duplicates`."""
        if self.request.keys and any(part.rows for part in parts):
            with self._staged(parts) as tables:
                yield from self._ranked(tables, losers=True)

    def finish(self, parts: Sequence[StagedPart], *, allow_empty: bool, marker: str) -> WriteResult:
        """Write the target and exchange it by rename; see `Writer.finish`.

        What is about to be exchanged is written down first, with the new file's digest: after a crash in between, the
        repeat sees whether the exchange happened, so an append is never done twice.
        """
        known = self._storage.read_bytes(self._marker)
        if known is not None:
            return WriteResult.from_json(json.loads(known)["result"]).again()
        if self._storage.read_bytes(f"{self._folder}/{ABORTED}") is not None:
            raise StagingLost("This run's load was aborted; stage its parts again.")
        pending = self._storage.read_bytes(f"{self._folder}/{PENDING}")
        if pending is not None:
            announced = json.loads(pending)
            if self._target_digest() == announced["digest"]:
                return self._settle(WriteResult.from_json(announced["result"]), marker)
        rows = sum(part.rows for part in parts)
        if rows == 0 and not allow_empty and self.request.disposition == Disposition.REPLACE:
            raise EmptyExtract(f"The extract for {self._path} has no rows, so the file was kept.", value=self._path)
        with self._staged(parts) as tables, temporary_file(suffix=".out") as target:
            batches = self._accepted(tables)
            written = 0
            with storage_errors(self._path):
                written = _write_file(target, self._kind, self._output_schema(), self._all_batches(batches))
                if self._compressed:
                    target = _compress(target)
            kept = self._existing_rows if self.request.disposition == Disposition.APPEND else 0
            inserted = written - kept
            if self.request.on_duplicate == "refuse" and inserted < rows:
                raise DuplicateKeys(f"Several rows have the same {', '.join(self.request.keys)}.", value=self._path)
            result = WriteResult(rows, inserted=inserted, duplicates=rows - inserted, facts={"how": "file"})
            announcement = {"digest": _digest(target), "result": result.to_json()}
            self._put_json(f"{self._folder}/{PENDING}", announcement)
            self._storage.put(target, self._path)
        return self._settle(result, marker)

    def abort(self) -> None:
        """Remove the staged parts; see `Writer.abort`."""
        self._storage.remove_folder(self._folder)
        self._put_json(f"{self._folder}/{ABORTED}", {})

    def _settle(self, result: WriteResult, marker: str) -> WriteResult:
        self._put_json(self._marker, {"marker": marker, "result": result.to_json()})
        self._storage.remove_folder(self._folder)
        return result

    def _target_digest(self) -> str | None:
        try:
            with self._storage.local_copy(self._path) as local:
                return _digest(local)
        except EntityGone:
            return None

    def _all_batches(self, new: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self._existing_rows = 0
        if self.request.disposition == Disposition.APPEND:
            for batch in self._existing():
                self._existing_rows += batch.num_rows
                yield batch
        yield from new

    def _existing(self) -> Iterator[pa.RecordBatch]:
        """The rows that are in the target already, as they would be written."""
        schema = self._output_schema()
        try:
            with self._storage.local_copy(self._path) as local:
                if self._kind == "ndjson":
                    yield from self._existing_lines(local, schema)
                else:
                    yield from _read_file(local, self._kind, schema, compressed=self._compressed)
        except EntityGone:
            return

    def _existing_lines(self, local: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """NDJSON keeps dates as text; a line that does not fit would be lost by rewriting, so it stops the load."""
        unfit: list[RejectedRecord] = []
        for table, _line in read_ndjson(local, self.request.schema.fields, self._path, unfit):
            if unfit:
                raise UnreadableInput(f"The existing {self._path} does not fit: {unfit[0].message}", value=self._path)
            columns = []
            for field, one in zip(schema, self.request.schema.fields, strict=True):
                values = table.column(field.name).combine_chunks()
                if values.type != field.type:
                    values, _mask = convert_text(values, TextColumn(one.name, one.type))
                columns.append(values)
            yield from pa.table(columns, schema=schema).to_batches(65_536)

    def _accepted(self, tables: list[pa.Table]) -> Iterator[pa.RecordBatch]:
        names = self._output_schema().names
        if self.request.keys and any(table.num_rows for table in tables):
            found: Iterable[pa.RecordBatch] = self._ranked(tables, losers=False)
        else:
            found = (batch for table in tables for batch in table.to_batches(65_536))
        for batch in found:
            yield batch.select(names)

    def _ranked(self, tables: list[pa.Table], *, losers: bool) -> Iterator[pa.RecordBatch]:
        keys = ", ".join(_quoted(one) for one in self.request.keys)
        names = ", ".join(_quoted(one) for one in self._schema.names)
        statement = (
            f"SELECT {names} FROM (SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY _row_id DESC) AS place "  # noqa: S608
            f"FROM staged) WHERE place {'>' if losers else '='} 1 ORDER BY _row_id"
        )
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.register("staged", pa.concat_tables(tables))
            for batch in connection.sql(statement).to_arrow_reader(65_536):
                yield self._fitted(batch)

    def _staged(self, parts: Sequence[StagedPart]) -> _StagedTables:
        return _StagedTables(self._storage, [(part, self._part_path(part.part)) for part in parts], self._schema)

    def _fitted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = []
        for field in self._schema:
            index = batch.schema.get_field_index(field.name)
            if index < 0 and field.name != ROW_ID:
                raise WriteRefused(f"The rows have no column {field.name}.", field=field.name)
            values = batch.column(index) if index >= 0 else pa.nulls(batch.num_rows, field.type)
            values = values.storage if isinstance(values, pa.ExtensionArray) else values
            try:
                arrays.append(values.cast(field.type))
            except pa.ArrowInvalid as error:
                raise WriteRefused(f"Column {field.name} does not fit: {error}", field=field.name) from None
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _output_schema(self) -> pa.Schema:
        return pa.schema([field for field in self._schema if field.name != ROW_ID])

    def _part_path(self, part: str) -> str:
        return f"{self._folder}/{hashlib.sha256(part.encode()).hexdigest()[:24]}.arrow"

    def _put_json(self, path: str, document: dict[str, Any]) -> None:
        with temporary_file(suffix=".json") as file:
            file.write_text(json.dumps(document))
            self._storage.put(file, path)


class _StagedTables:
    """The staged parts as memory-mapped tables, checked against what was reported."""

    def __init__(self, storage: Storage, parts: list[tuple[StagedPart, str]], schema: pa.Schema) -> None:
        self._storage, self._parts, self._schema = storage, parts, schema
        self._copies: list[Any] = []

    def __enter__(self) -> list[pa.Table]:
        tables = []
        for part, path in self._parts:
            if part.rows == 0:
                continue
            if self._storage.read_bytes(path) is None:
                raise StagingLost(f"Part {part.part} is not staged any more.", value=part.part)
            copy = self._storage.local_copy(path)
            local = copy.__enter__()
            self._copies.append(copy)
            if _digest(local) != part.checksum:
                raise StagingLost(f"Part {part.part} is not staged as it was reported.", value=part.part)
            tables.append(pa.ipc.open_file(pa.memory_map(str(local))).read_all())
        return tables or [self._schema.empty_table()]

    def __exit__(self, *_error: object) -> None:
        for copy in self._copies:
            copy.__exit__(None, None, None)


def _write_file(target: Path, kind: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    if kind == "parquet":
        with pa.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
    elif kind == "csv":
        plain = pa.schema([pa.field(one.name, _csv_type(one.type)) for one in schema])
        with pa.csv.CSVWriter(target, plain) as writer:
            for batch in batches:
                writer.write_batch(batch.cast(plain))
                rows += batch.num_rows
    else:
        with target.open("w", encoding="utf-8") as file, duckdb.connect(config={"threads": 1}) as connection:
            for batch in batches:
                connection.register("batch", pa.Table.from_batches([batch]))
                for (line,) in connection.sql("SELECT to_json(batch)::VARCHAR FROM batch").fetchall():
                    file.write(line)
                    file.write("\n")
                rows += batch.num_rows
    return rows


def _read_file(local: Path, kind: str, schema: pa.Schema, *, compressed: bool) -> Iterator[pa.RecordBatch]:
    if kind == "parquet":
        with pa.parquet.ParquetFile(local) as file:
            for batch in file.iter_batches():
                yield batch.select(schema.names).cast(schema)
        return
    source = pa.input_stream(str(local), compression="gzip" if compressed else None)
    convert = pa.csv.ConvertOptions(column_types=schema, strings_can_be_null=False, include_columns=schema.names)
    yield from pa.csv.open_csv(
        source, parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=convert
    )


def _csv_type(kind: pa.DataType) -> pa.DataType:
    return kind if not pa.types.is_nested(kind) else pa.string()


def _compress(path: Path) -> Path:
    packed = path.with_suffix(".packed")
    with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target, 1024 * 1024)
    packed.replace(path)
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
