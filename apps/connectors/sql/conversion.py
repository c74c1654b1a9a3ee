"""Arrow columns of any origin as the exact Arrow type that a PostgreSQL column is encoded from. Never lossy."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.exceptions import WriteRefused
from apps.connectors.sql.copy_encoding import column_type
from apps.connectors.sql.types import numeric_shape

HEX_DIGITS = np.full(256, 255, np.uint8)
for _digit in range(16):
    HEX_DIGITS[ord(f"{_digit:x}")] = HEX_DIGITS[ord(f"{_digit:X}")] = _digit
UUID_DASHES = (8, 13, 18, 23)


def convert_column(column: pa.Array, native: str, name: str) -> pa.Array:
    """The column as `column_type(native).arrow`.

    Raises:
        WriteRefused: a value does not fit the target's type; the message names the column and the first reason.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return _convert(column, native)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise WriteRefused(
            f"Column {name} does not fit the target's type {native}: {reason}",
            field=name,
            value=native,
            remedy="Change the target type of the field, or add a validation that keeps such rows out.",
        ) from None


def _convert(column: pa.Array, native: str) -> pa.Array:
    if native.endswith("[]"):
        element = native[:-2]
        if pa.types.is_null(column.type):
            return pa.nulls(len(column), pa.list_(_arrow_of(element)))
        column = column.cast(pa.list_(column.type.value_type))
        values = _convert(_plain(column.values), element)
        return pa.Array.from_buffers(
            pa.list_(values.type), len(column), column.buffers()[:2], offset=column.offset, children=[values]
        )
    base = native.split("(", 1)[0]
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), _arrow_of(native))
    if base == "numeric":
        return _to_decimal(column, native)
    if base in {"json", "jsonb"}:
        return _to_json(column).cast(pa.binary())
    if base == "uuid":
        return _to_uuid(column)
    wanted = column_type(native).arrow
    if wanted == pa.binary():
        return _to_bytes(column, native)
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(column.type):
        # Without a zone the instant is read as UTC, as DuckDB does; the zone itself is not stored.
        if column.type.tz is None or wanted.tz is None:
            return column.cast(pa.timestamp("us", column.type.tz)).view(pa.int64()).view(wanted)
        return column.cast(wanted)
    return column if column.type == wanted else column.cast(wanted)


def _plain(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _arrow_of(native: str) -> pa.DataType:
    shape = numeric_shape(native)
    if shape is not None:
        return pa.decimal128(min(38, shape.precision), shape.scale)
    return column_type(native).arrow


def _to_decimal(column: pa.Array, native: str) -> pa.Array:
    if pa.types.is_decimal(column.type):
        scale = max(0, column.type.scale)
        if pa.types.is_decimal128(column.type) and scale == column.type.scale:
            return column
        return column.cast(pa.decimal128(38, scale))
    if pa.types.is_integer(column.type):
        return column.cast(pa.decimal128(20 if pa.types.is_uint64(column.type) else 19, 0))
    shape = numeric_shape(native)
    if pa.types.is_floating(column.type):
        # Through the shortest decimal text: 0.1 stays 0.1, not its binary expansion.
        column = column.cast(pa.string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise pa.ArrowInvalid(f"{column.type} is not a number")
    if shape is not None and shape.precision <= 38:
        return column.cast(pa.decimal128(shape.precision, shape.scale))
    values = [None if text is None else Decimal(text) for text in column.to_pylist()]
    scale = max((max(0, -int(value.as_tuple().exponent)) for value in values if value is not None), default=0)
    return pa.array(values, pa.decimal128(38, scale))


def _to_bytes(column: pa.Array, native: str) -> pa.Array:
    kind = column.type
    if native == "bytea":
        return column.cast(pa.binary())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string()).cast(pa.binary())
    if pa.types.is_nested(kind):
        return _to_json(column).cast(pa.binary())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        raise pa.ArrowInvalid("bytes are not text")
    return _through_duckdb(column, "value::VARCHAR").cast(pa.binary())


def _to_json(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return _through_duckdb(column, "CASE WHEN value IS NOT NULL THEN to_json(value)::VARCHAR END")


def _through_duckdb(column: pa.Array, expression: str) -> pa.Array:
    table = pa.table({"value": column})
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("batch", table)
        found: Any = connection.sql(f"SELECT {expression} AS value FROM batch").to_arrow_table()  # noqa: S608 - constants
    return found.column(0).combine_chunks().cast(pa.string())


def _to_uuid(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_fixed_size_binary(kind):
        return column.cast(pa.binary(16))
    text = column.cast(pa.string())
    filled = text.fill_null("00000000-0000-0000-0000-000000000000") if text.null_count else text
    lengths = pc.binary_length(filled)
    if not pc.all(pc.equal(lengths, 36)).as_py():
        raise pa.ArrowInvalid("a value is not a UUID of 36 characters")
    if len(filled) == 0:
        return pa.array([], pa.binary(16))
    start = np.frombuffer(filled.buffers()[1], np.int32)[filled.offset]
    raw = np.frombuffer(filled.buffers()[2], np.uint8)[start : start + 36 * len(filled)].reshape(-1, 36)
    digits = HEX_DIGITS[np.delete(raw, UUID_DASHES, axis=1)]
    if (digits == 255).any():
        raise pa.ArrowInvalid("a value is not a UUID")
    values = (digits[:, 0::2] << 4 | digits[:, 1::2]).astype(np.uint8)
    bitmap = pa.array(text.is_valid().to_pylist()).buffers()[1] if text.null_count else None
    return pa.Array.from_buffers(
        pa.binary(16), len(text), [bitmap, pa.py_buffer(np.ascontiguousarray(values))], null_count=text.null_count
    )
