"""Arrow batches as PostgreSQL's binary COPY stream, vectorised.

Measured on two cores with 1 M invoices of 14 columns, three of them decimals: the ADBC driver's own writer takes 1.5 s
of client CPU, half of it for the decimals; this one takes about 0.5 s, because no value passes through Python and the
rows are put together by one Arrow kernel. Layout: the columns without NULLs and of fixed width form a packed record per
row; every other column is a 4-byte length and its bytes; `binary_join_element_wise` concatenates them row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.exceptions import WriteRefused
from apps.connectors.sql.numeric import encode_numeric

HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
TRAILER = b"\xff\xff"
MAX_ENCODED_BYTES = 256 * 1024**2
EPOCH_DAYS = 10_957
EPOCH_US = 946_684_800_000_000
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

Bytes2D = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """How one PostgreSQL type is encoded: the Arrow type it starts from, its object id, its bytes (one row each)."""

    arrow: pa.DataType
    oid: int
    fixed: Callable[[pa.Array], Bytes2D] | None = None


def _raw(array: pa.Array, dtype: str) -> npt.NDArray[Any]:
    buffer = array.buffers()[1]
    values = np.frombuffer(buffer, dtype=dtype, count=array.offset + len(array))
    return values[array.offset :]


def _plain(source: str, target: str) -> Callable[[pa.Array], Bytes2D]:
    def encode(array: pa.Array) -> Bytes2D:
        return _bytes(_raw(array, source).astype(target))

    return encode


def _shifted(source: str, target: str, epoch: int, infinity: int) -> Callable[[pa.Array], Bytes2D]:
    def encode(array: pa.Array) -> Bytes2D:
        values = _raw(array, source)
        shifted = values - np.asarray(epoch, dtype=source)
        for special, written in ((infinity, infinity), (-infinity, -infinity - 1)):
            mask = values == special
            if mask.any():
                shifted = np.where(mask, np.asarray(written, dtype=source), shifted)
        return _bytes(shifted.astype(target))

    return encode


def _bytes(values: npt.NDArray[Any]) -> Bytes2D:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)


def _booleans(array: pa.Array) -> Bytes2D:
    return _raw(array.cast(pa.uint8()), "u1").reshape(-1, 1)


def _uuids(array: pa.Array) -> Bytes2D:
    return np.ascontiguousarray(_raw(array, "V16")).view(np.uint8).reshape(-1, 16)


def _intervals(array: pa.Array) -> Bytes2D:
    layout = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanos", "<i8")])
    source = np.ascontiguousarray(_raw(array, "V16")).view(layout)
    written = np.empty(len(source), np.dtype([("us", ">i8"), ("days", ">i4"), ("months", ">i4")]))
    written["us"], written["days"], written["months"] = source["nanos"] // 1000, source["days"], source["months"]
    return _bytes(written)


COLUMN_TYPES: dict[str, ColumnType] = {
    "boolean": ColumnType(pa.bool_(), 16, _booleans),
    "smallint": ColumnType(pa.int16(), 21, _plain("<i2", ">i2")),
    "integer": ColumnType(pa.int32(), 23, _plain("<i4", ">i4")),
    "bigint": ColumnType(pa.int64(), 20, _plain("<i8", ">i8")),
    "real": ColumnType(pa.float32(), 700, _plain("<f4", ">f4")),
    "double precision": ColumnType(pa.float64(), 701, _plain("<f8", ">f8")),
    "date": ColumnType(pa.date32(), 1082, _shifted("<i4", ">i4", EPOCH_DAYS, INT32_MAX)),
    "time without time zone": ColumnType(pa.time64("us"), 1083, _plain("<i8", ">i8")),
    "timestamp without time zone": ColumnType(pa.timestamp("us"), 1114, _shifted("<i8", ">i8", EPOCH_US, INT64_MAX)),
    "timestamp with time zone": ColumnType(
        pa.timestamp("us", "UTC"), 1184, _shifted("<i8", ">i8", EPOCH_US, INT64_MAX)
    ),
    "uuid": ColumnType(pa.binary(16), 2950, _uuids),
    "interval": ColumnType(pa.month_day_nano_interval(), 1186, _intervals),
    "text": ColumnType(pa.binary(), 25),
    "json": ColumnType(pa.binary(), 114),
    "jsonb": ColumnType(pa.binary(), 3802),
    "bytea": ColumnType(pa.binary(), 17),
    "numeric": ColumnType(pa.decimal128(38, 0), 1700, encode_numeric),
}


def column_type(native: str) -> ColumnType:
    """The encoding of a PostgreSQL type as `format_type` spells it; unknown types are sent as text."""
    base = native.split("(", 1)[0]
    if base in {"character varying", "character"}:
        return COLUMN_TYPES["text"]
    if base.startswith("time") and "(" in native:
        base = f"{base}{native.split(')', 1)[1]}"
    found = COLUMN_TYPES.get(base)
    if found is None:
        raise WriteRefused(
            f"Columns of type {native} cannot be loaded in bulk.",
            value=native,
            remedy="Map the field to a text column, or change the target column's type.",
        )
    return found


def encode_batch(columns: list[pa.Array], natives: list[str]) -> list[pa.Buffer]:
    """Rows as binary COPY tuples (without header and trailer).

    Args:
        columns: equally long arrays, one per column of the COPY statement, already of `column_type(native).arrow`
            (see `apps.connectors.sql.conversion`).
        natives: PostgreSQL types of the columns.

    Returns:
        Buffers to send one after the other; more than one only where a batch of huge values had to be split.
    """
    rows = len(columns[0])
    if rows == 0:
        return []
    if rows > 1 and sum(column.nbytes for column in columns) > MAX_ENCODED_BYTES:
        half = rows // 2
        first = encode_batch([column.slice(0, half) for column in columns], natives)
        return first + encode_batch([column.slice(half) for column in columns], natives)
    count = np.empty((rows, 2), np.uint8)
    count[:, 0], count[:, 1] = divmod(len(columns), 256)
    packed: list[Bytes2D] = [count]
    pieces: list[pa.Array] = []
    for column, native in zip(columns, natives, strict=True):
        found = _encode(column, native)
        # The order of the fields is the order of the statement, so a packed run ends at the first varying column.
        if isinstance(found, np.ndarray):
            packed.append(found)
        else:
            if packed:
                pieces.append(_fixed_array(packed))
                packed = []
            pieces.extend(found)
    if packed:
        pieces.append(_fixed_array(packed))
    joined = pieces[0] if len(pieces) == 1 else pc.binary_join_element_wise(*pieces, b"")
    data = joined.buffers()[2]
    return [data.slice(0, _end_offset(joined))]


def order_for_encoding(natives: list[str]) -> list[int]:
    """Column order that packs best: fixed widths first."""
    return sorted(range(len(natives)), key=lambda index: _varies(natives[index]))


def _varies(native: str) -> bool:
    return native.endswith("[]") or column_type(native).fixed is None


def _encode(column: pa.Array, native: str) -> Bytes2D | list[pa.Array]:
    if native.endswith("[]"):
        return _encode_list(column, native[:-2])
    kind = column_type(native)
    if kind.fixed is not None:
        return _encode_fixed(column, kind.fixed)
    if kind.oid == 3802:
        column = pc.binary_join_element_wise(pa.scalar(b"\x01", pa.binary()), column, b"")
    return _encode_varying(column)


def _encode_fixed(column: pa.Array, fixed: Callable[[pa.Array], Bytes2D]) -> Bytes2D | list[pa.Array]:
    values = fixed(column)
    rows, width = values.shape
    record = np.empty((rows, 4 + width), np.uint8)
    record[:, :4] = np.frombuffer(width.to_bytes(4, "big"), np.uint8)
    record[:, 4:] = values
    if column.null_count == 0:
        return record
    missing = _missing(column)
    record[missing, :4] = 0xFF
    keep = np.ones(record.shape, np.bool_)
    keep[missing, 4:] = False
    lengths = np.where(missing, 4, 4 + width)
    return [_varying_array(record[keep], lengths)]


def _encode_varying(column: pa.Array) -> list[pa.Array]:
    missing = _missing(column) if column.null_count else None
    if missing is not None:
        column = column.fill_null(b"")
    offsets = _raw_offsets(column)
    lengths = np.diff(offsets).astype(">i4")
    if missing is not None:
        lengths[missing] = -1
    return [_fixed_array([_bytes(lengths)]), column]


def _encode_list(column: pa.Array, element: str) -> list[pa.Array]:
    missing = _missing(column) if column.null_count else np.zeros(len(column), np.bool_)
    offsets = _raw_offsets(column).astype(np.int64)
    # A NULL list may still cover elements in its child array.
    counts = np.where(missing, 0, np.diff(offsets))
    child = column.values
    encoded = _encode(child, element)
    pieces = [_fixed_array([encoded])] if isinstance(encoded, np.ndarray) else encoded
    flat = pieces[0] if len(pieces) == 1 else pc.binary_join_element_wise(*pieces, b"")
    child_offsets = _raw_offsets(flat)
    starts, ends = child_offsets[offsets[:-1]], child_offsets[offsets[1:]]
    elements = pa.Array.from_buffers(
        pa.binary(), len(column), [None, pa.py_buffer(child_offsets[offsets].astype("<i4")), flat.buffers()[2]]
    )
    if missing.any():
        elements = pc.if_else(pa.array(missing), pa.scalar(b"", pa.binary()), elements)
    header = np.empty(
        len(column),
        np.dtype([("size", ">i4"), ("dims", ">i4"), ("nulls", ">i4"), ("oid", ">i4"), ("n", ">i4"), ("low", ">i4")]),
    )
    filled = counts > 0
    header["size"] = np.where(missing, -1, np.where(filled, 20 + ends - starts, 12))
    header["dims"] = filled
    header["nulls"] = 1 if child.null_count else 0
    header["oid"] = column_type(element).oid
    header["n"], header["low"] = counts, 1
    keep = np.ones((len(column), 24), np.bool_)
    keep[~filled, 16:] = False
    keep[missing, 4:] = False
    return [_varying_array(_bytes(header)[keep], keep.sum(axis=1)), elements]


def _missing(column: pa.Array) -> Mask:
    return _raw(pc.is_null(column).cast(pa.uint8()), "u1").astype(np.bool_)


def _raw_offsets(array: pa.Array) -> npt.NDArray[np.int32]:
    offsets = np.frombuffer(array.buffers()[1], np.int32, count=array.offset + len(array) + 1)
    return offsets[array.offset :]


def _end_offset(array: pa.Array) -> int:
    return int(_raw_offsets(array)[-1])


def _fixed_array(parts: list[Bytes2D]) -> pa.Array:
    data = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    rows, width = data.shape
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    )


def _varying_array(data: npt.NDArray[np.uint8], lengths: npt.NDArray[Any]) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(
        pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    )
