"""Rows of a PostgreSQL table or query as Arrow batches, streamed.

The ADBC driver streams a binary COPY; memory is bounded by its batch. It reads a numeric as text, which costs 0.5 s per
million values, so decimals are asked for in their wire form (`numeric_send`) and decoded vectorised: 1 M invoices with
three decimals take 1.2 s instead of 2.5 s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from psycopg import sql

from apps.connectors.contracts import SOURCE_POSITION, RejectedRecord
from apps.connectors.sql.copy_encoding import EPOCH_DAYS, EPOCH_US, INT32_MAX, INT64_MAX
from apps.connectors.sql.endpoint import Endpoint
from apps.connectors.sql.errors import translate_stream
from apps.connectors.sql.merge import Names, select_duplicates
from apps.connectors.sql.numeric import SAFE_DIGITS, decode_numeric
from apps.connectors.sql.tables import Column, Session, find_table
from apps.connectors.sql.types import ARRAY_ELEMENTS, DECIMAL, duckdb_type, numeric_shape

BATCH_BYTES = 8 * 1024**2
PARTITION_BITS = 40
MULTI_DIMENSIONAL = "_aip_multidimensional"
PLAIN = {
    "BOOLEAN",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "BLOB",
    "TIME",
    "INTERVAL",
    "JSON",
}
TEXT_TYPES = {"text", "name", "character varying", "character", "bpchar", "varchar"}

Mask = npt.NDArray[np.bool_]
Decoder = Callable[[pa.Array], tuple[pa.Array, Mask | None]]


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """A column as it is asked for and decoded; what an `optional` one cannot hold is NULL and rejects no row."""

    name: str
    type: str
    expression: sql.Composable
    decode: Decoder
    is_array: bool = False
    optional: bool = False


def plan_column(name: str, native: str, alias: str = "t") -> ReadColumn:
    """How to read a column of this PostgreSQL type (`format_type` spelling)."""
    column = sql.Identifier(alias, name)
    type_ = duckdb_type(native)
    decimal = DECIMAL.match(type_)
    if decimal:
        precision, scale = int(decimal[1]), int(decimal[2])
        shape = numeric_shape(native)
        if shape is not None and precision <= SAFE_DIGITS and shape.scale >= 0:
            return ReadColumn(name, type_, sql.SQL("numeric_send({})").format(column), _wire_decimal(precision, scale))
        return ReadColumn(name, type_, sql.SQL("{}::text").format(column), _text_decimal(precision, scale))
    if type_ == "DATE":
        return ReadColumn(name, type_, column, _infinite(pa.date32(), np.int32, EPOCH_DAYS, INT32_MAX))
    if type_.startswith("TIMESTAMP"):
        wanted = pa.timestamp("us", "UTC" if type_ == "TIMESTAMPTZ" else None)
        return ReadColumn(name, type_, column, _infinite(wanted, np.int64, EPOCH_US, INT64_MAX))
    if type_.endswith("[]"):
        return ReadColumn(name, type_, column, _as_it_is, is_array=type_[:-2] in ARRAY_ELEMENTS)
    if native.endswith("[]"):
        return ReadColumn(name, type_, sql.SQL("to_jsonb({})").format(column), _as_it_is)
    if native == "oid":
        return ReadColumn(name, type_, sql.SQL("{}::bigint").format(column), _as_it_is)
    if type_ in PLAIN or native.split("(", 1)[0] in TEXT_TYPES:
        return ReadColumn(name, type_, column, _as_it_is)
    # A UUID travels as text, as everywhere in the data plane.
    return ReadColumn(name, type_, sql.SQL("{}::text").format(column), _as_it_is)


def select_statement(
    columns: Sequence[ReadColumn], source: sql.Composable, where: Sequence[sql.Composable], limit: int | None
) -> sql.Composed:
    """The SELECT that gives the planned columns, named by position."""
    parts: list[sql.Composable] = [
        sql.SQL("{} AS {}").format(one.expression, sql.Identifier(f"c{index}")) for index, one in enumerate(columns)
    ]
    arrays = [one for one in columns if one.is_array and not one.optional]
    if arrays:
        flags = [sql.SQL("coalesce(array_ndims({}) > 1, false)").format(one.expression) for one in arrays]
        parts.append(sql.SQL("{} AS {}").format(sql.SQL(" OR ").join(flags), sql.Identifier(MULTI_DIMENSIONAL)))
    if not parts:
        parts.append(sql.SQL("NULL::int AS nothing"))
    statement = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(parts), source)
    if where:
        statement += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(where)
    if limit is not None:
        statement += sql.SQL(" LIMIT {}").format(sql.Literal(limit))
    return statement


def read_batches(
    endpoint: Endpoint,
    columns: Sequence[ReadColumn],
    statement: str,
    *,
    batch_rows: int,
    snapshot: str | None = None,
    partition: int = 0,
    rejected: list[RejectedRecord] | None = None,
    positions: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Run a statement made by `select_statement` and give its rows, decoded.

    Args:
        batch_rows: most rows of a batch.
        snapshot: exported snapshot to read in.
        partition: number of the partition; makes `_source_position` unique over partitions.
        rejected: collects rows that no Arrow type can hold (NaN in a decimal, an array of arrays); when None such a
            value is an error.
    """
    position = partition << PARTITION_BITS
    with endpoint.arrow_session(BATCH_BYTES) as cursor:
        for prepared in transaction_statements(snapshot):
            cursor.execute(prepared)
        cursor.execute(statement)
        for raw in _received(cursor.fetch_record_batch()):
            for start in range(0, raw.num_rows, batch_rows):
                piece = raw.slice(start, batch_rows)
                yield _decode(piece, columns, position, rejected, positions=positions)
                position += piece.num_rows


def _received(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The reader's batches; a fault of the server or the line as the portal's error."""
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (OSError, pa.ArrowException) as error:
            raise translate_stream(error) from error
        yield batch


def transaction_statements(snapshot: str | None) -> list[str]:
    """What makes a transaction read one state, optionally that of another session's snapshot."""
    statements = ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"]
    if snapshot:
        statements.append(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)).as_string())
    return statements


def stream_batches(
    endpoint: Endpoint, schema: str, staging: str, columns: list[str], names: Names
) -> Iterator[pa.RecordBatch]:
    """Duplicate rows of a staging table, for the quarantine."""
    with endpoint.connect() as session:
        planned = [plan_column(one.name, one.native) for one in _columns(session, schema, staging, columns)]
    inner = sql.SQL("({}) t").format(select_duplicates(names, columns))
    statement = select_statement(planned, inner, [], None).as_string()
    yield from read_batches(endpoint, planned, statement, batch_rows=8192, positions=False)


def _columns(session: Session, schema: str, table: str, wanted: list[str]) -> list[Column]:
    found = find_table(session, schema, table)
    by_name = {one.name: one for one in found.columns} if found is not None else {}
    return [by_name[name] for name in wanted if name in by_name]


def _decode(
    raw: pa.RecordBatch,
    columns: Sequence[ReadColumn],
    position: int,
    rejected: list[RejectedRecord] | None,
    *,
    positions: bool,
) -> pa.RecordBatch:
    arrays: list[pa.Array] = []
    masks: dict[int, Mask] = {}
    for index, column in enumerate(columns):
        values, mask = column.decode(raw.column(index))
        arrays.append(values)
        if mask is not None and mask.any() and not column.optional:
            masks[index] = mask
    bad: Mask | None = np.logical_or.reduce(list(masks.values())) if masks else None
    flags_at = raw.schema.get_field_index(MULTI_DIMENSIONAL)
    if flags_at >= 0:
        flags = raw.column(flags_at).to_numpy(zero_copy_only=False).astype(np.bool_)
        if flags.any():
            bad = flags if bad is None else bad | flags
    names = [one.name for one in columns]
    plain = pa.RecordBatch.from_arrays(arrays, names=names)
    if bad is not None:
        if rejected is None:
            raise pa.ArrowInvalid("a value is not a number")
        for row in np.flatnonzero(bad).tolist():
            values = plain.slice(row, 1).to_pylist()[0]
            odd = {columns[index].name: index for index, mask in masks.items() if mask[row]}
            values |= {name: _odd_value(raw.column(index), row) for name, index in odd.items()}
            reasons = [
                f"{name} is {values[name][:100]}, which {columns[i].type} does not hold" for name, i in odd.items()
            ]
            rejected.append(_rejected_record(values, reasons, position + row))
    if positions:
        ordinals = pa.array(np.arange(position, position + raw.num_rows, dtype=np.int64))
        plain = pa.RecordBatch.from_arrays([*arrays, ordinals], names=[*names, SOURCE_POSITION])
    return plain if bad is None else plain.filter(pa.array(~bad))


def _odd_value(column: pa.Array, row: int) -> str:
    """The value as the server wrote it; in the wire form only what is no number at all is odd."""
    value = column[row].as_py()
    return value if isinstance(value, str) else "NaN"


def _rejected_record(values: dict[str, Any], reasons: list[str], position: int) -> RejectedRecord:
    message = f"{'; '.join(reasons)}." if reasons else "A list column holds a list of lists."
    payload = {
        name: _interval(value) if isinstance(value, pa.MonthDayNano) else value for name, value in values.items()
    }
    return RejectedRecord(position, "connectors.value_unreadable", message, payload)


def _interval(value: pa.MonthDayNano) -> str:
    return f"{value.months} months {value.days} days {value.nanoseconds // 1000} microseconds"


def _as_it_is(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if isinstance(array, pa.ExtensionArray) and array.type.extension_name == "arrow.opaque":
        return array.storage, None
    return array, None


def _wire_decimal(precision: int, scale: int) -> Decoder:
    def decode(array: pa.Array) -> tuple[pa.Array, Mask | None]:
        return decode_numeric(array, precision, scale)

    return decode


def _text_decimal(precision: int, scale: int) -> Decoder:
    wanted = pa.decimal128(precision, scale)

    def decode(array: pa.Array) -> tuple[pa.Array, Mask | None]:
        text = array.storage if isinstance(array, pa.ExtensionArray) else array
        try:
            return text.cast(wanted), None
        except pa.ArrowInvalid:
            return _one_by_one(text, wanted)

    return decode


def _one_by_one(text: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, Mask]:
    values: list[Decimal | None] = []
    bad = np.zeros(len(text), np.bool_)
    for index, item in enumerate(text.to_pylist()):
        value: Decimal | None = None
        try:
            value = Decimal(item) if item is not None else None
            if value is not None:
                pa.scalar(value, wanted)
        except (InvalidOperation, pa.ArrowInvalid):
            bad[index], value = True, None
        values.append(value)
    return pa.array(values, wanted), bad


def _infinite(wanted: pa.DataType, integers: Any, epoch: int, infinity: int) -> Decoder:
    """PostgreSQL's infinite dates wrap round in the driver; give them DuckDB's representation instead."""
    with np.errstate(over="ignore"):
        shift = np.array([epoch], integers)
        positive = (np.array([infinity], integers) + shift)[0]
        negative = (np.array([-infinity - 1], integers) + shift)[0]

    def decode(array: pa.Array) -> tuple[pa.Array, Mask | None]:
        if len(array) == 0 or array.null_count == len(array):
            return array.cast(wanted), None
        values = np.frombuffer(array.buffers()[1], integers, count=array.offset + len(array))[array.offset :]
        up, down = values == positive, values == negative
        if not up.any() and not down.any():
            return array.cast(wanted), None
        fixed = np.where(up, infinity, np.where(down, -infinity, values)).astype(integers)
        missing = array.is_null().to_numpy(zero_copy_only=False)
        plain = pa.array(fixed, mask=missing)
        return plain.view(wanted), None

    return decode
