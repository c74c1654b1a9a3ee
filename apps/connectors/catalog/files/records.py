"""NDJSON and Parquet. JSON numbers are read from their text, so decimals stay exact, nested ones too."""

from __future__ import annotations

import io
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from apps.connectors.catalog.files.inference import infer_type
from apps.connectors.catalog.files.tabular import MAX_LINE_BYTES, fitting_rows, open_binary, unpacking_errors
from apps.connectors.contracts import EntityField, RejectedRecord
from apps.connectors.exceptions import UnreadableInput
from apps.expressions.contracts import Field, Schema
from apps.expressions.types import UnknownTypeName, from_arrow_type

BLOCK_BYTES = 8 * 1024**2
SAMPLE_LINES = 2_000
MAX_REJECTED = 10_000
PARSERS = 2
"""Blocks that are parsed ahead, each in its own thread: parsing costs more than everything after it."""
EXACT_NUMBER = re.compile(r'"\\u0000([-+.0-9E]+)\\u0000"')
"""A decimal on its way through `json.dumps`, which writes no exact ones itself."""
TEXTUAL = ("DATE", "TIMESTAMP", "TIMESTAMPTZ")


def sample_ndjson(path: Path, shown: str) -> tuple[EntityField, ...]:
    """Fields of the first 2,000 lines, in order of appearance.

    Raises:
        UnreadableInput: no line is a JSON object.
    """
    values: dict[str, list[Any]] = {}
    count = 0
    with unpacking_errors(shown), open_binary(path) as file:
        for _number, line in zip(range(SAMPLE_LINES), _lines(file, shown), strict=False):
            try:
                record = _load(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                count += 1
                for name, value in record.items():
                    values.setdefault(name, []).append(value)
    if not count:
        raise UnreadableInput(
            f"{shown} has no JSON object in its first lines.", value=shown, remedy="NDJSON has one object a line."
        )
    return tuple(
        EntityField(name, _type_of(found), "json", True, False, position)
        for position, (name, found) in enumerate(values.items())
    )


def read_ndjson(
    path: Path, fields: Sequence[EntityField], shown: str, rejected: list[RejectedRecord]
) -> Iterator[tuple[pa.Table, int]]:
    """Blocks of records with the given fields, and the line number at which each begins.

    Dates and times come as text, for the caller to convert. A line that is no object, or whose value has another type,
    is collected in `rejected` with its number.
    """
    schema = arrow_schema(fields)
    line_number = 1
    with (
        unpacking_errors(shown),
        open_binary(path) as file,
        ThreadPoolExecutor(PARSERS, thread_name_prefix="ndjson") as pool,
    ):
        ahead: deque[tuple[bytes, int, Future[pa.Table | None]]] = deque()
        blocks = _blocks(file, shown)
        try:
            while True:
                while len(ahead) <= PARSERS and (block := next(blocks, None)) is not None:
                    lines = block.count(b"\n") + (0 if block.endswith(b"\n") else 1)
                    ahead.append((block, lines, pool.submit(_parse_block, block, lines, schema, fields)))
                if not ahead:
                    return
                block, lines, parsed = ahead.popleft()
                table = parsed.result()
                if table is None:
                    table = _read_lines(block, schema, fields, line_number, rejected, shown)
                yield table, line_number
                line_number += lines
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _parse_block(block: bytes, lines: int, schema: pa.Schema, fields: Sequence[EntityField]) -> pa.Table | None:
    """The block by Arrow's parser, None when a line needs the slow way."""
    if any(one.type == "JSON" for one in fields):
        return None
    try:
        table = pa.json.read_json(
            io.BytesIO(block),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    # The parser skips blank lines; without any, rows and lines correspond.
    return table.select(schema.names) if table.num_rows == lines else None


def arrow_schema(fields: Sequence[EntityField]) -> pa.Schema:
    """The Arrow schema in which NDJSON is parsed."""
    kinds = {one.name: "VARCHAR" if one.type in TEXTUAL or one.type == "JSON" else one.type for one in fields}
    found: pa.Schema = Schema(tuple(Field(name, kind) for name, kind in kinds.items())).to_arrow()
    return found


def parquet_fields(path: Path, shown: str) -> tuple[tuple[EntityField, ...], int, int]:
    """Fields, number of rows and number of row groups of a Parquet file.

    Raises:
        UnreadableInput: not a Parquet file.
    """
    try:
        with pa.parquet.ParquetFile(path) as file:
            fields = tuple(_parquet_field(one, position, shown) for position, one in enumerate(file.schema_arrow))
            return fields, file.metadata.num_rows, file.num_row_groups
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableInput(f"{shown} is not a readable Parquet file: {str(error)[:200]}", value=shown) from error


def _parquet_field(field: pa.Field, position: int, shown: str) -> EntityField:
    try:
        if pa.types.is_decimal256(field.type):
            raise UnknownTypeName(str(field.type))
        type_ = from_arrow_type(field.type)
    except UnknownTypeName:
        raise UnreadableInput(
            f"Column {field.name} of {shown} has the type {field.type}, which cannot be read.",
            field=field.name,
            value=str(field.type),
            remedy="Write the column as text or as a number, or leave it out of the file.",
        ) from None
    return EntityField(field.name, type_, str(field.type), field.nullable, False, position)


def read_parquet(
    path: Path, columns: Sequence[str], shown: str, *, batch_rows: int, groups: range | None
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Batches of the wanted columns and the ordinal of each batch's first row."""
    try:
        with pa.parquet.ParquetFile(path) as file:
            chosen = groups if groups is not None else range(file.num_row_groups)
            position = sum(file.metadata.row_group(index).num_rows for index in range(chosen.start))
            size_bytes = sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
            batch_rows = fitting_rows(batch_rows, size_bytes // max(1, file.metadata.num_rows))
            for batch in file.iter_batches(batch_rows, row_groups=list(chosen), columns=list(columns)):
                yield batch.select(list(columns)), position
                position += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableInput(f"{shown} is damaged: {str(error)[:200]}", value=shown) from error


def _lines(file: BinaryIO, shown: str) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise UnreadableInput(f"A line of {shown} is longer than {MAX_LINE_BYTES // 1024**2} MB.", value=shown)
        yield line


def _blocks(file: BinaryIO, shown: str) -> Iterator[bytes]:
    """Pieces that end at a line's end."""
    while block := file.read(BLOCK_BYTES):
        if not block.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
            if len(rest) > MAX_LINE_BYTES:
                raise UnreadableInput(f"A line of {shown} is longer than {MAX_LINE_BYTES // 1024**2} MB.", value=shown)
            block += rest
        yield block


def _read_lines(
    block: bytes,
    schema: pa.Schema,
    fields: Sequence[EntityField],
    first_line: int,
    rejected: list[RejectedRecord],
    shown: str,
) -> pa.Table:
    """The slow way, for blocks that hold a line the fast one cannot read: line by line."""
    columns: dict[str, list[Any]] = {one.name: [] for one in fields}
    columns["_line"] = []
    for number, line in enumerate(block.splitlines(), first_line):
        if not line.strip():
            continue
        try:
            record = _load(line)
            values = [_fitting(_member(record, one.name), one, schema.field(one.name).type) for one in fields]
        except (ValueError, pa.ArrowException) as error:
            rejected.append(
                RejectedRecord(
                    number,
                    "connectors.json_line",
                    f"Line {number}: {str(error)[:200]}.",
                    {"line": number, "text": line[:2000].decode("utf-8", "replace")},
                )
            )
            if len(rejected) > MAX_REJECTED:
                raise UnreadableInput(f"More than {MAX_REJECTED} lines of {shown} cannot be read.") from None
            continue
        for one, value in zip(fields, values, strict=True):
            columns[one.name].append(value)
        columns["_line"].append(number)
    return pa.table(columns, schema=schema.append(pa.field("_line", pa.int64())))


def _load(line: bytes) -> Any:
    """A JSON value whose fractions are exact; NaN and Infinity, which JSON does not have, are refused."""
    return json.loads(line, parse_float=Decimal, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _member(record: Any, name: str) -> Any:
    if isinstance(record, dict):
        return record.get(name)
    raise ValueError("the line is no JSON object")


def _fitting(value: Any, field: EntityField, arrow: pa.DataType) -> Any:
    if value is None:
        return None
    if field.type == "JSON":
        return EXACT_NUMBER.sub(r"\1", json.dumps(value, default=lambda number: f"\0{number}\0"))
    if pa.types.is_decimal(arrow) and isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if pa.types.is_string(arrow) is not isinstance(value, str):
        raise ValueError(f"{field.name} is {json.dumps(value, default=str)[:100]}, not {field.type}")
    if isinstance(value, bool) is not pa.types.is_boolean(arrow):
        raise ValueError(f"{field.name} is {value!r}, not {field.type}")
    try:
        pa.scalar(value, arrow)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise ValueError(f"{field.name} is {json.dumps(value, default=str)[:100]}, not {field.type}") from None
    return value


def _type_of(values: list[Any]) -> str:
    """The narrowest type of JSON values; JSON (as text) where they differ in kind."""
    found = [value for value in values if value is not None]
    if not found:
        return "VARCHAR"
    kinds = {type(value) for value in found}
    if kinds == {bool}:
        return "BOOLEAN"
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in found):
        return "BIGINT"
    if kinds <= {int, Decimal}:
        if all(-int(value.as_tuple().exponent) <= 18 for value in found if isinstance(value, Decimal)):
            type_ = infer_type([format(value, "f") if isinstance(value, Decimal) else str(value) for value in found])
            return "JSON" if type_ == "VARCHAR" else type_  # more digits than any number type holds
        return "DOUBLE"
    if kinds == {str}:
        type_ = infer_type(found)
        return type_ if type_ in TEXTUAL else "VARCHAR"
    if kinds == {list}:
        element = _type_of([item for value in found for item in value])
        return "JSON" if element == "JSON" else f"{element}[]".replace("DATE[]", "VARCHAR[]")
    if kinds == {dict}:
        return _struct_type(found)
    return "JSON"


def _struct_type(values: list[dict[str, Any]]) -> str:
    inner: dict[str, list[Any]] = {}
    for value in values:
        for name, item in value.items():
            inner.setdefault(name, []).append(item)
    if not inner or len({name.lower() for name in inner}) != len(inner):
        return "JSON"
    parts = []
    for name, found in inner.items():
        type_ = _type_of(found)
        # Inside a structure dates stay text, as they are in JSON.
        type_ = "VARCHAR" if type_ in TEXTUAL else type_
        if type_ == "JSON":
            return "JSON"
        shown = name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'
        parts.append(f"{shown} {type_}")
    return f"STRUCT({', '.join(parts)})"
