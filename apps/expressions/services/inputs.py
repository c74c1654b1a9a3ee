"""JSON values into typed columns: inferring types, converting values, naming what does not fit."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from apps.expressions.contracts import Field, Schema
from apps.expressions.types import INTEGERS, SqlType, parse_type, to_arrow_type

_DIGITS = Context(prec=76)
_UNSET = object()


class InputProblem(ValueError):
    """A value does not fit the declared type of its column."""

    def __init__(self, column: str, value: object, type_: str) -> None:
        """Name the column, and shorten the value."""
        self.column = column
        shown = str(value)[:60]
        super().__init__(f"{column}: {shown!r} is not a {type_}.")


# ------------------------------------------------------------------------------------------------------- inference


def infer_schema(context: Mapping[str, Any]) -> Schema:
    """Types of one context's values; what has no one type becomes JSON."""
    return Schema(tuple(Field(name, str(_infer(value, 0))) for name, value in context.items()))


def _infer(value: Any, depth: int) -> SqlType:
    match value:
        case None:
            return SqlType("NULL") if depth else SqlType("VARCHAR")
        case bool():
            return SqlType("BOOLEAN")
        case int():
            return SqlType("BIGINT" if -(2**63) <= value < 2**63 else "HUGEINT")
        case float():
            return SqlType("DOUBLE")
        case Decimal():
            return _infer_decimal(value)
        case datetime():
            return SqlType("TIMESTAMPTZ" if value.tzinfo else "TIMESTAMP")
        case date():
            return SqlType("DATE")
        case time():
            return SqlType("TIME")
        case uuid.UUID():
            return SqlType("UUID")
        case bytes():
            return SqlType("BLOB")
        case Mapping() if value and depth < 12 and _distinct(value):
            return SqlType(
                "STRUCT",
                names=tuple(map(str, value)),
                items=tuple(_no_null(_infer(item, depth + 1)) for item in value.values()),
            )
        case list() | tuple() if depth < 12:
            found = SqlType("NULL")
            for item in value:
                found = _common(found, _infer(item, depth + 1))
            return SqlType("LIST", items=(_no_null(found),))
        case str():
            return SqlType("VARCHAR")
    return SqlType("JSON")


def _distinct(value: Mapping[Any, Any]) -> bool:
    """STRUCT fields do not differ by case alone, and have names."""
    names = {str(name).lower() for name in value}
    return len(names) == len(value) and "" not in names


def _no_null(found: SqlType) -> SqlType:
    return SqlType("VARCHAR") if found.kind == "NULL" else found


def _infer_decimal(value: Decimal) -> SqlType:
    if not value.is_finite():
        return SqlType("DOUBLE")
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    width = max(len(digits) + max(0, int(exponent)), scale, 1)
    return SqlType("DECIMAL", max(18, width), scale) if width <= 38 and scale <= 38 else SqlType("DOUBLE")


def _common(a: SqlType, b: SqlType) -> SqlType:
    if a == b or b.kind == "NULL":
        return a
    if a.kind == "NULL":
        return b
    if a.is_number and b.is_number:
        if "double" in {a.family, b.family}:
            return SqlType("DOUBLE")
        scale = max(a.scale, b.scale)
        whole = max((t.width - t.scale) if t.kind == "DECIMAL" else 19 for t in (a, b))
        return SqlType("DECIMAL", min(38, whole + scale), scale) if scale else SqlType("HUGEINT")
    if a.kind == b.kind == "LIST":
        return SqlType("LIST", items=(_common(a.items[0], b.items[0]),))
    if a.kind == b.kind == "STRUCT":
        merged = dict(zip(a.names, a.items, strict=True))
        for name, item in zip(b.names, b.items, strict=True):
            merged[name] = _common(merged[name], item) if name in merged else item
        if _distinct(merged):
            return SqlType("STRUCT", names=tuple(merged), items=tuple(merged.values()))
    return SqlType("JSON")


# ------------------------------------------------------------------------------------------------------ conversion


def to_parameters(context: Mapping[str, Any], fields: Sequence[Field]) -> list[Any]:
    """The context's values in the order of the fields; a missing one is NULL.

    Raises:
        InputProblem: a value does not fit its type.
    """
    return [_convert(field, _lookup(context, field.name)) for field in fields]


def to_arrow_rows(rows: Sequence[Mapping[str, Any]], fields: Sequence[Field]) -> tuple[pa.Table, dict[int, str]]:
    """The rows as one table, and why some of them are all NULL: position -> sentence."""
    refused: dict[int, str] = {}
    columns: list[list[Any]] = [[] for _ in fields]
    for position, row in enumerate(rows):
        try:
            values = to_parameters(row, fields)
        except InputProblem as problem:
            refused[position] = str(problem)
            values = [None] * len(fields)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    arrays = [pa.array(column, to_arrow_type(f.type)) for column, f in zip(columns, fields, strict=True)]
    table = pa.table(dict(zip([field.name for field in fields], arrays, strict=True)))
    if not fields:
        table = pa.table({"_": pa.nulls(len(rows), pa.int8())})
    return table, refused


def _lookup(row: Mapping[str, Any], name: str) -> Any:
    found = row.get(name, _UNSET)
    if found is not _UNSET:
        return found
    return next((value for key, value in row.items() if str(key).lower() == name.lower()), None)


def _convert(field: Field, value: Any) -> Any:
    try:
        return convert(value, parse_type(field.type))
    except (ValueError, TypeError, OverflowError, InvalidOperation, AttributeError, RecursionError):
        raise InputProblem(field.name, value, field.type) from None


def convert(value: Any, target: SqlType) -> Any:
    """A JSON value as the Python value of a type.

    Raises:
        ValueError, TypeError, OverflowError, InvalidOperation: it does not fit.
    """
    if value is None:
        return None
    kind, family = target.kind, target.family
    if family == "integer":
        return _integer(value, kind)
    if family == "decimal":
        return _decimal(value, target)
    if family == "double":
        return float(value)
    if family == "boolean":
        return _boolean(value)
    if family in _CONVERTERS:
        return _CONVERTERS[family](value)
    if family == "list":
        if not isinstance(value, list | tuple):
            raise TypeError(value)
        return [convert(item, target.items[0]) for item in value]
    if family == "struct":
        if not isinstance(value, Mapping):
            raise TypeError(value)
        pairs = zip(target.names, target.items, strict=True)
        return {name: convert(_lookup(value, name), item) for name, item in pairs}
    if family == "map" and isinstance(value, Mapping):
        key, item = target.items
        return {convert(k, key): convert(v, item) for k, v in value.items()}
    raise TypeError(value)


def _integer(value: Any, kind: str) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    number = int(value.strip() if isinstance(value, str) else value)
    if isinstance(value, Decimal) and number != value:
        raise ValueError(value)
    _, low, high = INTEGERS[kind]
    if not low <= number <= high:
        raise OverflowError(value)
    return number


def _decimal(value: Any, target: SqlType) -> Decimal:
    if isinstance(value, bool):
        raise TypeError(value)
    number = Decimal(str(value).strip())
    if not number.is_finite():
        raise ValueError(value)
    rounded = number.quantize(Decimal(1).scaleb(-target.scale), rounding=ROUND_HALF_UP, context=_DIGITS)
    if rounded != number and not isinstance(value, float):  # a binary float is rounded, a written number never
        raise ValueError(value)
    if abs(rounded) >= Decimal(10) ** (target.width - target.scale):
        raise OverflowError(value)
    return rounded


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    return known[str(value).lower()] if str(value).lower() in known else _raise(value)


def _raise(value: Any) -> Any:
    raise ValueError(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str) if isinstance(value, bool | Mapping | list | tuple) else str(value)


def _json(value: Any) -> str:
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return json.dumps(value)
        return value
    return json.dumps(value, default=str)


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(value.strip()[:10])


def _instant(value: Any) -> datetime:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - made aware below
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _blob(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray) else base64.b64decode(value, validate=True)


_CONVERTERS: dict[str, Any] = {
    "text": _text,
    "json": _json,
    "date": _date,
    "timestamp": lambda value: _instant(value).replace(tzinfo=None),
    "timestamptz": _instant,
    "time": lambda value: value if isinstance(value, time) else time.fromisoformat(value),
    "uuid": lambda value: str(uuid.UUID(str(value))),
    "blob": _blob,
}
