"""Types of text columns, and exact conversion to them. Amounts become decimals, never floats.

A type is chosen from the sample only when every value fits it. Codes with leading zeros stay text. A value further down
the file that does not fit makes its record a rejected one; nothing is rounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.contracts import EntityField

INTEGER = re.compile(r"^[+-]?(0|[1-9]\d{0,17})$")
DECIMAL = re.compile(r"^[+-]?(0|[1-9]\d*)(\.\d+)?$")
FLOAT = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d{1,3}$")
DATE = re.compile(r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")
TIMESTAMP = re.compile(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$")
ZONED = re.compile(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)$")
BOOLEANS = {"true", "false"}
MONEY_SCALE = 2


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of text and the type its values are converted to."""

    name: str
    type: str

    @property
    def arrow(self) -> pa.DataType:
        """Arrow's twin of the type."""
        decimal = re.match(r"DECIMAL\((\d+),(\d+)\)", self.type)
        if decimal:
            return pa.decimal128(int(decimal[1]), int(decimal[2]))
        return ARROW[self.type]


ARROW = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
}


def infer_type(values: Sequence[str | None], decimal_separator: str = ".") -> str:
    """The narrowest type that holds every value of a sample; VARCHAR when nothing else does or all are missing."""
    found = [value.strip() for value in values if value is not None and value.strip()]
    if not found:
        return "VARCHAR"
    if all(value.lower() in BOOLEANS for value in found):
        return "BOOLEAN"
    numbers = [value.replace(decimal_separator, ".") for value in found] if decimal_separator != "." else found
    if all(INTEGER.match(value) for value in found):
        return "BIGINT"
    if all(DECIMAL.match(value) for value in numbers):
        scale = max(len(value.partition(".")[2]) for value in numbers)
        whole = max(len(value.partition(".")[0].lstrip("+-")) for value in numbers)
        scale = max(scale, MONEY_SCALE)
        if whole + scale <= 38:
            # Room for larger amounts than the sample's; 18 digits are the fast width.
            return f"DECIMAL({18 if whole + scale <= 16 else 38},{scale})"
        return "VARCHAR"
    if all(DECIMAL.match(value) or FLOAT.match(value) for value in numbers):
        return "DOUBLE"
    for pattern, type_ in ((DATE, "DATE"), (TIMESTAMP, "TIMESTAMP"), (ZONED, "TIMESTAMPTZ")):
        if all(pattern.match(value) for value in found):
            return type_
    return "VARCHAR"


def infer_fields(columns: dict[str, list[str | None]], decimal_separator: str = ".") -> tuple[EntityField, ...]:
    """The fields of a table of text."""
    fields = []
    for position, (name, values) in enumerate(columns.items()):
        fields.append(EntityField(name, infer_type(values, decimal_separator), "text", True, False, position))
    return tuple(fields)


def rank_cursors(fields: Sequence[EntityField]) -> tuple[str, ...]:
    """Columns that could order changes, best first."""
    changed = re.compile(r"(updated|modified|changed)", re.IGNORECASE)
    timed = [one for one in fields if one.type.startswith(("TIMESTAMP", "DATE"))]
    return tuple(one.name for one in sorted(timed, key=lambda one: (not changed.search(one.name), one.position)))


def convert_text(
    array: pa.Array, column: TextColumn, decimal_separator: str = "."
) -> tuple[pa.Array, np.ndarray | None]:
    """A text array as the column's type, and a mask of the rows that do not fit (None when all do)."""
    if column.type == "VARCHAR":
        return array, None
    if decimal_separator == "." or not column.type.startswith(("DECIMAL", "DOUBLE")):
        try:
            # Most files need no clean-up, which costs more than the conversion itself.
            return array.cast(column.arrow), None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    text = pc.utf8_trim_whitespace(array)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    if decimal_separator != "." and column.type.startswith(("DECIMAL", "DOUBLE")):
        text = pc.replace_substring(text, decimal_separator, ".")
    try:
        return _cast(text, column), None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _cast_each(text, column)


def _cast(text: pa.Array, column: TextColumn) -> pa.Array:
    if column.type == "BOOLEAN":
        return pc.utf8_lower(text).cast(pa.bool_())
    if column.type == "BIGINT" and _any(pc.starts_with(text, "+")):
        text = pc.replace_substring_regex(text, r"^\+", "")
    if column.type.startswith("TIMESTAMP"):
        # Arrow wants seconds, and minutes in the offset.
        text = pc.replace_substring_regex(text, r"([+-]\d\d)$", r"\1:00") if column.type == "TIMESTAMPTZ" else text
        text = pc.replace_substring_regex(text, r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(Z|[+-]|$)", r"\1:00\2")
    return text.cast(column.arrow)


def _any(mask: pa.Array) -> bool:
    return bool(pc.any(mask).as_py())


def _cast_each(text: pa.Array, column: TextColumn) -> tuple[pa.Array, np.ndarray]:
    good: list[object] = []
    bad = np.zeros(len(text), np.bool_)
    for index in range(len(text)):
        one = text.slice(index, 1)
        try:
            good.append(_cast(one, column)[0].as_py())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            bad[index] = True
            good.append(None)
    return pa.array(good, column.arrow), bad
