"""What JSON records look like as columns: inference from a sample, and exact conversion to Arrow.

Numbers never pass through binary floating point: whole ones become BIGINT, fractional ones DECIMAL. Nested objects and
lists keep their structure; values whose structure differs from record to record become JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

BIGINT_MAX = 2**63 - 1
DECIMAL_DIGITS = 38
MIN_SCALE = 6
"""Fractional numbers get room for at least six decimals, so that a longer one in a later record still fits."""
MAX_DEPTH = 6
MAX_FIELDS = 500


class Unfit(ValueError):
    """A value does not fit the column that earlier records suggested; the message names the column."""


@dataclass
class Shape:
    """Everything the sample has shown about one value: which kinds occurred, and the parts of the nested ones."""

    kinds: set[str] = field(default_factory=set)
    scale: int = 0
    fields: dict[str, Shape] = field(default_factory=dict)
    item: Shape | None = None
    seen: int = 0
    nulls: int = 0

    def add(self, value: Any, depth: int = 0) -> None:
        """Learn from one more value."""
        self.seen += 1
        if value is None:
            self.nulls += 1
        elif isinstance(value, bool):
            self.kinds.add("boolean")
        elif isinstance(value, int):
            self.kinds.add("integer" if abs(value) <= BIGINT_MAX else "big")
        elif isinstance(value, Decimal | float):
            exponent = Decimal(value).as_tuple().exponent
            self.kinds.add("decimal")
            self.scale = max(self.scale, -exponent if isinstance(exponent, int) else 0)
        elif isinstance(value, str):
            self.kinds.add("text")
        elif depth >= MAX_DEPTH:
            self.kinds.add("json")
        elif isinstance(value, Mapping):
            self.kinds.add("struct")
            for name, inner in value.items():
                self.fields.setdefault(str(name), Shape()).add(inner, depth + 1)
        else:
            self.kinds.add("list")
            self.item = self.item or Shape()
            for inner in value:
                self.item.add(inner, depth + 1)

    def duckdb_type(self) -> str:
        """The narrowest DuckDB type that holds every value seen."""
        kinds = self.kinds
        if not kinds:
            return "VARCHAR"
        if kinds == {"boolean"}:
            return "BOOLEAN"
        if kinds == {"integer"}:
            return "BIGINT"
        if kinds <= {"integer", "big"}:
            return f"DECIMAL({DECIMAL_DIGITS},0)"
        if kinds <= {"integer", "big", "decimal"}:
            return f"DECIMAL({DECIMAL_DIGITS},{min(max(self.scale, MIN_SCALE), DECIMAL_DIGITS - 10)})"
        if kinds == {"text"}:
            return "VARCHAR"
        if kinds == {"struct"} and self.fields and len(self.fields) <= MAX_FIELDS:
            inner = ", ".join(f"{_quoted(name)} {shape.duckdb_type()}" for name, shape in self.fields.items())
            return f"STRUCT({inner})"
        if kinds == {"list"} and self.item is not None and self.item.kinds:
            return f"{self.item.duckdb_type()}[]"
        return "JSON"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def infer_fields(records: Iterable[Mapping[str, Any]]) -> dict[str, Shape]:
    """Shapes of the top-level fields, in the order in which they first occurred."""
    shapes: dict[str, Shape] = {}
    count = 0
    for record in records:
        count += 1
        for name, value in record.items():
            shapes.setdefault(str(name), Shape()).add(value)
    for shape in shapes.values():
        # A field that some records lack is nullable, as one that is null.
        shape.nulls += count - shape.seen
    return shapes


def to_value(value: Any, type_: pa.DataType, *, path: str) -> Any:
    """A JSON value as what Arrow wants for that type, exactly.

    Raises:
        Unfit: the value has another structure, or would lose digits.
    """
    if value is None:
        return None
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if pa.types.is_boolean(type_):
        return _expect(value, bool, path, "true or false")
    if pa.types.is_integer(type_):
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unfit(f"{path} is {_shown(value)}, not a whole number.")
        if abs(value) > BIGINT_MAX:
            raise Unfit(f"{path} is {value}, which is too large.")
        return value
    if pa.types.is_decimal(type_):
        return _to_decimal(value, type_, path)
    if pa.types.is_struct(type_):
        record = _expect(value, Mapping, path, "an object")
        return {
            inner.name: to_value(record.get(inner.name), inner.type, path=f"{path}.{inner.name}") for inner in type_
        }
    if pa.types.is_list(type_):
        items = _expect(value, list, path, "a list")
        return [to_value(item, type_.value_type, path=f"{path}[{index}]") for index, item in enumerate(items)]
    raise Unfit(f"{path} has the type {type_}, which JSON does not carry.")


def _to_decimal(value: Any, type_: pa.Decimal128Type, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Unfit(f"{path} is {_shown(value)}, not a number.")
    number = Decimal(value)
    sign, digits, exponent = number.as_tuple()
    del sign
    if not isinstance(exponent, int):
        raise Unfit(f"{path} is {value}, which is no number.")
    if -exponent > type_.scale and number != number.quantize(Decimal(1).scaleb(-type_.scale)):
        raise Unfit(f"{path} is {value}; only {type_.scale} decimals are kept for this field.")
    if len(digits) + exponent > type_.precision - type_.scale:
        raise Unfit(f"{path} is {value}, which is too large.")
    return number


def _expect(value: Any, kind: type, path: str, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise Unfit(f"{path} is {_shown(value)}, not {wanted}.")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
