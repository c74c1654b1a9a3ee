"""Files as targets: parts are staged beside the target, and one rename puts the finished file in its place."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from apps.connectors.base import Writer
from apps.connectors.catalog.files.spill import SORT_MEMORY_MB, spill_errors
from apps.connectors.catalog.files.storage import COPY_BYTES, Storage
from apps.connectors.catalog.files.tabular import MAX_LINE_BYTES, open_binary, unpacking_errors
from apps.connectors.choices import Disposition
from apps.connectors.contracts import ROW_ID, StagedPart, WriteRequest, WriteResult
from apps.connectors.exceptions import (
    DuplicateKeys,
    EmptyExtract,
    EntityGone,
    NotSupported,
    SchemaChanged,
    StagingLost,
    WriteRefused,
)
from apps.expressions.contracts import Field, Schema

STAGING = ".aip"
ABORTED = "aborted"
PENDING = "pending.json"
REPLACE_INSTEAD = "Use replace, or load into a new file."


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
        self._compressed = path.endswith(".gz")
        target = hashlib.sha256(path.encode()).hexdigest()[:16]
        self._folder = f"{STAGING}/{request.run_id}/{target}"
        self._marker = f"{STAGING}/done/{request.run_id}-{target}.json"
        fields = [Field(one.name, one.type) for one in request.schema.fields]
        self._schema: pa.Schema = Schema((*fields, Field(ROW_ID, "BIGINT"))).to_arrow()

    def stage(self, batches: Iterable[pa.RecordBatch], *, part: str) -> StagedPart:
        """Write one part; see `Writer.stage`."""
        rows = 0
        with self._storage.spill.file(suffix=".arrow") as path:
            with spill_errors(), pa.OSFile(str(path), "wb") as sink:
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
        with self._staged(parts) as tables, self._storage.spill.file(suffix=".out") as target:
            with spill_errors():
                inserted = self._write(target, self._accepted(tables))
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

    def _write(self, target: Path, new: Iterator[pa.RecordBatch]) -> int:
        """Write what an append keeps and the new rows; returns how many are new."""
        schema = self._output_schema()
        if self._kind == "parquet":
            with pa.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
                for batch in self._existing_parquet(schema):
                    writer.write_batch(batch)
                return _count_written(new, writer.write_batch)
        with _open_for_writing(target, packed=self._compressed) as file:
            kept = self._copy_existing(file, schema.names)
            if self._kind == "csv":
                return _write_csv(file, schema, new, header=not kept)
            return _write_ndjson(file, schema, new)

    def _copy_existing(self, file: BinaryIO, names: list[str]) -> bool:
        """Copy the target's present lines as they are, so that an append changes none; returns whether there are any.

        Raises:
            SchemaChanged: a CSV file has other columns, or in another order.
        """
        if self.request.disposition != Disposition.APPEND:
            return False
        try:
            with self._storage.local_copy(self._path) as local, unpacking_errors(self._path):
                with open_binary(local) as existing:
                    if self._kind == "csv":
                        self._check_columns(_header_of(existing), names)
                        existing.seek(0)
                    last = b""
                    while chunk := existing.read(COPY_BYTES):
                        file.write(chunk)
                        last = chunk
        except EntityGone:
            return False
        if last and not last.endswith(b"\n"):
            file.write(b"\n")
        return bool(last)

    def _existing_parquet(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        if self.request.disposition != Disposition.APPEND:
            return
        try:
            with self._storage.local_copy(self._path) as local, pa.parquet.ParquetFile(local) as file:
                self._check_columns(file.schema_arrow.names, schema.names)
                for batch in file.iter_batches():
                    yield batch.select(schema.names).cast(schema)
        except EntityGone:
            return
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaChanged(
                f"The rows of the existing {self._path} do not fit the load: {error}",
                value=self._path,
                remedy=REPLACE_INSTEAD,
            ) from None

    def _check_columns(self, existing: list[str], wanted: list[str]) -> None:
        same = existing == wanted or (self._kind == "parquet" and set(existing) == set(wanted))
        if existing and not same:
            raise SchemaChanged(
                f"{self._path} has the columns {', '.join(existing)[:300]}, the load has {', '.join(wanted)[:300]}.",
                field="disposition",
                value=self._path,
                remedy=REPLACE_INSTEAD,
            )

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
        with self._storage.spill.engine() as connection:
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
        with self._storage.spill.file(suffix=".json") as file:
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


def _count_written(batches: Iterator[pa.RecordBatch], write: Callable[[pa.RecordBatch], None]) -> int:
    rows = 0
    for batch in batches:
        write(batch)
        rows += batch.num_rows
    return rows


def _write_csv(file: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch], *, header: bool) -> int:
    plain = pa.schema([pa.field(one.name, _csv_type(one.type)) for one in schema])
    with pa.csv.CSVWriter(file, plain, write_options=pa.csv.WriteOptions(include_header=header)) as writer:
        return _count_written(batches, lambda batch: writer.write_batch(batch.cast(plain)))


def _write_ndjson(file: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]

    def write(batch: pa.RecordBatch) -> None:
        for name in floats:
            if not pc.all(pc.is_finite(batch.column(name))).as_py():
                raise WriteRefused(
                    f"Column {name} has a value that JSON cannot hold (NaN or infinity).",
                    field=name,
                    remedy="Map such values to NULL, or add a validation that keeps such rows out.",
                )
        connection.register("batch", pa.Table.from_batches([batch]))
        lines = connection.sql("SELECT to_json(batch)::VARCHAR FROM batch").fetchall()
        file.write("".join(f"{line}\n" for (line,) in lines).encode())

    with duckdb.connect(config={"threads": 1, "memory_limit": f"{SORT_MEMORY_MB}MB"}) as connection:
        return _count_written(batches, write)


def _open_for_writing(path: Path, *, packed: bool) -> BinaryIO:
    return gzip.open(path, "wb", compresslevel=6) if packed else path.open("wb")  # type: ignore[return-value]


def _header_of(file: BinaryIO) -> list[str]:
    line = file.readline(MAX_LINE_BYTES)
    return next(csv.reader([line.decode("utf-8-sig", "replace")]), [])


def _csv_type(kind: pa.DataType) -> pa.DataType:
    return kind if not pa.types.is_nested(kind) else pa.string()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
