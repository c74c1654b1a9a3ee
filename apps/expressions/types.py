"""Type names: parsing, families, what fits into what, and the Arrow twins. Pure; no engine needed."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Fit = Literal["same", "widening", "checked", "lossy", "impossible"]


class UnknownTypeName(ValueError):
    """The text is not the name of a type the language knows."""


@dataclass(frozen=True, slots=True)
class SqlType:
    """A type, taken apart.

    Attributes:
        kind: canonical name (`DECIMAL`, `VARCHAR`, `LIST`, `STRUCT`, `MAP` …).
        width, scale: of a DECIMAL.
        names: field names of a STRUCT.
        items: element types of LIST, MAP (key, value) and STRUCT.
    """

    kind: str
    width: int = 0
    scale: int = 0
    names: tuple[str, ...] = ()
    items: tuple[SqlType, ...] = ()

    def __str__(self) -> str:
        if self.kind == "DECIMAL":
            return f"DECIMAL({self.width},{self.scale})"
        if self.kind == "LIST":
            return f"{self.items[0]}[]"
        if self.kind == "MAP":
            return f"MAP({self.items[0]}, {self.items[1]})"
        if self.kind == "STRUCT":
            inner = ", ".join(f"{quote_name(n)} {t}" for n, t in zip(self.names, self.items, strict=True))
            return f"STRUCT({inner})"
        return '"NULL"' if self.kind == "NULL" else self.kind

    @property
    def family(self) -> str:
        """text integer decimal double boolean date timestamp timestamptz time interval json uuid blob list struct …"""
        return FAMILIES.get(self.kind, self.kind.lower())

    @property
    def is_number(self) -> bool:
        """Integers, DECIMAL, DOUBLE and FLOAT."""
        return self.family in {"integer", "decimal", "double"}


FAMILIES = {
    "VARCHAR": "text", "UUID": "uuid", "JSON": "json", "BLOB": "blob", "BOOLEAN": "boolean", "DECIMAL": "decimal",
    "DOUBLE": "double", "FLOAT": "double", "DATE": "date", "TIME": "time", "INTERVAL": "interval",
    "TIMESTAMP": "timestamp", "TIMESTAMP_S": "timestamp", "TIMESTAMP_MS": "timestamp", "TIMESTAMP_NS": "timestamp",
    "TIMESTAMPTZ": "timestamptz", "LIST": "list", "STRUCT": "struct", "MAP": "map", "NULL": "null",
}  # fmt: skip
# kind -> decimal digits that certainly fit, lowest and highest value
INTEGERS: dict[str, tuple[int, int, int]] = {
    "TINYINT": (2, -(2**7), 2**7 - 1), "SMALLINT": (4, -(2**15), 2**15 - 1), "INTEGER": (9, -(2**31), 2**31 - 1),
    "BIGINT": (18, -(2**63), 2**63 - 1), "HUGEINT": (38, -(2**127), 2**127 - 1), "UTINYINT": (2, 0, 2**8 - 1),
    "USMALLINT": (4, 0, 2**16 - 1), "UINTEGER": (9, 0, 2**32 - 1), "UBIGINT": (19, 0, 2**64 - 1),
    "UHUGEINT": (38, 0, 2**128 - 1),
}  # fmt: skip
FAMILIES |= dict.fromkeys(INTEGERS, "integer")
_ALIASES = {
    "INT": "INTEGER", "INT4": "INTEGER", "SIGNED": "INTEGER", "INT8": "BIGINT", "LONG": "BIGINT", "INT2": "SMALLINT",
    "SHORT": "SMALLINT", "INT1": "TINYINT", "INT128": "HUGEINT", "TEXT": "VARCHAR", "STRING": "VARCHAR",
    "CHAR": "VARCHAR", "BPCHAR": "VARCHAR", "BOOL": "BOOLEAN", "LOGICAL": "BOOLEAN", "FLOAT8": "DOUBLE",
    "DOUBLE PRECISION": "DOUBLE", "FLOAT4": "FLOAT", "REAL": "FLOAT", "NUMERIC": "DECIMAL", "BYTEA": "BLOB",
    "VARBINARY": "BLOB", "BINARY": "BLOB", "DATETIME": "TIMESTAMP", "TIMESTAMP WITHOUT TIME ZONE": "TIMESTAMP",
    "TIMESTAMPNTZ": "TIMESTAMP", "TIMESTAMP_US": "TIMESTAMP", "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
    "TIME WITHOUT TIME ZONE": "TIME", "UINT8": "UTINYINT", "UINT16": "USMALLINT", "UINT32": "UINTEGER",
    "UINT64": "UBIGINT", "UINT128": "UHUGEINT", "INT16": "SMALLINT", "INT32": "INTEGER", "INT64": "BIGINT",
}  # fmt: skip
_TOKEN = re.compile(r"""\s*(?:("(?:[^"]|"")*")|([A-Za-z_][A-Za-z0-9_]*)|(\d+)|([(),\[\]]))""")
_PLAIN_NAME = re.compile(r"^[a-z_][a-z0-9_]*$")


def quote_name(name: str) -> str:
    """An SQL identifier, quoted always (reserved words and case need no thought then)."""
    return '"' + name.replace('"', '""') + '"'


@functools.lru_cache(maxsize=4096)
def parse_type(text: str) -> SqlType:
    """A type from its name, in any of the engine's spellings.

    Raises:
        UnknownTypeName: not a type of the language (ENUM, UNION and fixed-size arrays are not).
    """
    tokens: list[str] = []
    position = 0
    if len(text) > 20_000:
        raise UnknownTypeName("The type name is too long.")
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position:].strip():
                raise UnknownTypeName(f"{text!r} is not a type.")
            break
        tokens.append(match.group(match.lastindex or 0))
        position = match.end()
    parser = _TypeParser(tokens, text)
    found = parser.read(0)
    if parser.position != len(tokens):
        raise UnknownTypeName(f"{text!r} is not a type.")
    return found


class _TypeParser:
    """Recursive descent over the tokens of one type name."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens, self.text, self.position = tokens, text, 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or (expected is not None and token != expected):
            raise UnknownTypeName(f"{self.text!r} is not a type.")
        self.position += 1
        return token

    def read(self, depth: int) -> SqlType:
        if depth > 12:
            raise UnknownTypeName("The type is nested too deeply.")
        found = self._base(depth)
        while self.peek() == "[":
            self.take("[")
            self.take("]")
            found = SqlType("LIST", items=(found,))
        return found

    def _base(self, depth: int) -> SqlType:
        token = self.take()
        word = token.strip('"').upper()
        for extra in ("PRECISION", "WITH", "WITHOUT", "TIME", "ZONE"):
            if self.peek().upper() == extra and (word.startswith(("TIME", "DOUBLE"))):
                word += " " + self.take().upper()
        word = _ALIASES.get(word, word)
        if word == "DECIMAL":
            return self._decimal()
        if word == "STRUCT":
            return self._struct(depth)
        if word == "MAP":
            self.take("(")
            key = self.read(depth + 1)
            self.take(",")
            value = self.read(depth + 1)
            self.take(")")
            return SqlType("MAP", items=(key, value))
        if word == "VARCHAR" and self.peek() == "(":
            self.take("(")
            self.take()
            self.take(")")
        if word not in FAMILIES or word == "LIST":
            raise UnknownTypeName(f"{self.text!r} is not a type.")
        return SqlType(word)

    def _decimal(self) -> SqlType:
        width, scale = 18, 3
        if self.peek() == "(":
            self.take("(")
            width, scale = self._number(), 0
            if self.peek() == ",":
                self.take(",")
                scale = self._number()
            self.take(")")
        if not (1 <= width <= 38 and 0 <= scale <= width):
            raise UnknownTypeName("DECIMAL has 1 to 38 digits, and no more decimals than digits.")
        return SqlType("DECIMAL", width, scale)

    def _number(self) -> int:
        token = self.take()
        if not token.isdigit():
            raise UnknownTypeName(f"{self.text!r} is not a type.")
        return int(token)

    def _struct(self, depth: int) -> SqlType:
        self.take("(")
        names: list[str] = []
        items: list[SqlType] = []
        while True:
            name = self.take()
            names.append(name[1:-1].replace('""', '"') if name.startswith('"') else name)
            items.append(self.read(depth + 1))
            if self.peek() != ",":
                break
            self.take(",")
        self.take(")")
        return SqlType("STRUCT", names=tuple(names), items=tuple(items))


def find_type(text: str) -> SqlType | None:
    """The type of that name, or None."""
    try:
        return parse_type(text)
    except UnknownTypeName:
        return None


def canonical_name(text: str) -> str:
    """The binding spelling of a type name: `numeric(18, 2)` -> `DECIMAL(18,2)`; unknown names in upper case."""
    found = find_type(text)
    return str(found) if found else text.upper()


def fit(source: SqlType, target: SqlType) -> tuple[Fit, str]:
    """How a value of `source` gets into a column of `target`, and a sentence about it.

    Returns:
        same: nothing happens; widening: always exact; checked: exact or a row error (text that must be a number,
        BIGINT into INTEGER); lossy: digits, time of day or precision can be lost without an error; impossible.
    """
    if source == target or source.family == "null":
        return "same", ""
    a, b = source.family, target.family
    if a == "list" and b == "list":
        return fit(source.items[0], target.items[0])
    if a == b == "struct":
        return _fit_struct(source, target)
    if source.is_number and target.is_number:
        return _fit_number(source, target)
    if b == "text":
        return "widening", ""
    if a in {"text", "json"} and b not in {"list", "struct", "map"}:
        return "checked", f"text that is no {target} becomes a row error"
    if b == "json":
        return ("checked" if a == "text" else "widening"), ""
    if a == "json":
        return "checked", f"JSON that does not have the shape of {target} becomes a row error"
    return _FITS.get((a, b), ("impossible", f"{source} cannot become {target}"))


_FITS: dict[tuple[str, str], tuple[Fit, str]] = {
    ("date", "timestamp"): ("widening", ""),
    ("date", "timestamptz"): ("widening", ""),
    ("timestamp", "timestamp"): ("widening", ""),
    ("timestamp", "timestamptz"): ("widening", "the time is read as UTC"),
    ("timestamp", "date"): ("lossy", "the time of day is cut off"),
    ("timestamptz", "timestamp"): ("lossy", "the zone is dropped; the time is the one in UTC"),
    ("timestamptz", "date"): ("lossy", "the time of day is cut off; the day is the one in UTC"),
    ("timestamp", "time"): ("lossy", "the date is cut off"),
    ("timestamptz", "time"): ("lossy", "the date is cut off"),
    ("boolean", "integer"): ("widening", ""),
    ("integer", "boolean"): ("lossy", "every number but 0 becomes TRUE"),
    ("uuid", "uuid"): ("same", ""),
    ("blob", "blob"): ("same", ""),
    ("map", "map"): ("checked", ""),
}


def _fit_struct(source: SqlType, target: SqlType) -> tuple[Fit, str]:
    have = {name.lower(): item for name, item in zip(source.names, source.items, strict=True)}
    worst: tuple[Fit, str] = ("widening", "")
    order = ("same", "widening", "checked", "lossy", "impossible")
    for name, item in zip(target.names, target.items, strict=True):
        if name.lower() not in have:
            return "impossible", f"the struct has no field {name}"
        found = fit(have[name.lower()], item)
        worst = max(worst, found, key=lambda pair: order.index(pair[0]))
    return worst


def digits(source: SqlType) -> tuple[int, int]:
    """Digits before and after the decimal point of an exact number type (enough for every value)."""
    if source.kind == "DECIMAL":
        return source.width - source.scale, source.scale
    known, low, high = INTEGERS[source.kind]
    return max(known + 1 if source.kind != "HUGEINT" else 39, len(str(max(-low, high)))), 0


def _fit_number(source: SqlType, target: SqlType) -> tuple[Fit, str]:
    if target.family == "double":
        if source.family == "double":
            narrower = source.kind == "DOUBLE" and target.kind == "FLOAT"
            return ("lossy", "FLOAT keeps 7 digits") if narrower else ("widening", "")
        whole, decimals = digits(source)
        exact = decimals == 0 and whole <= (15 if target.kind == "DOUBLE" else 7)
        return ("widening", "") if exact else ("lossy", f"{target.kind} is a binary number and keeps no exact decimals")
    if source.family == "double":
        return "lossy", f"{source.kind} is a binary number; it is rounded to {target}"
    if source.family == "integer" and target.family == "integer":
        _, low, high = INTEGERS[source.kind]
        _, target_low, target_high = INTEGERS[target.kind]
        inside = target_low <= low and high <= target_high
        return ("widening", "") if inside else ("lossy", f"a number outside of {target} becomes a row error")
    whole, decimals = digits(source)
    if target.family == "integer":
        if decimals:
            return "lossy", "decimals are rounded away"
        room = len(str(INTEGERS[target.kind][2])) - 1
        return ("widening", "") if whole <= room else ("lossy", f"a number outside of {target} becomes a row error")
    room, target_decimals = digits(target)
    if decimals > target_decimals:
        return "lossy", f"{decimals} decimals are rounded to {target_decimals}"
    return ("widening", "") if whole <= room else ("lossy", f"a number with more digits than {target} is a row error")


_ARROW: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(), "JSON": pa.string(), "UUID": pa.string(), "BLOB": pa.binary(), "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(), "SMALLINT": pa.int16(), "INTEGER": pa.int32(), "BIGINT": pa.int64(),
    "UTINYINT": pa.uint8(), "USMALLINT": pa.uint16(), "UINTEGER": pa.uint32(), "UBIGINT": pa.uint64(),
    "HUGEINT": pa.decimal128(38, 0), "UHUGEINT": pa.decimal128(38, 0), "DOUBLE": pa.float64(), "FLOAT": pa.float32(),
    "DATE": pa.date32(), "TIME": pa.time64("us"), "TIMESTAMP": pa.timestamp("us"), "TIMESTAMP_S": pa.timestamp("s"),
    "TIMESTAMP_MS": pa.timestamp("ms"), "TIMESTAMP_NS": pa.timestamp("ns"),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"), "INTERVAL": pa.month_day_nano_interval(), "NULL": pa.string(),
}  # fmt: skip


def to_arrow_type(text: str) -> pa.DataType:
    """The Arrow twin of a type name (JSON, UUID and NULL are strings).

    Raises:
        UnknownTypeName: not a type of the language.
    """
    return _to_arrow(parse_type(text))


def _to_arrow(source: SqlType) -> pa.DataType:
    if source.kind == "DECIMAL":
        return pa.decimal128(source.width, source.scale)
    if source.kind == "LIST":
        return pa.list_(_to_arrow(source.items[0]))
    if source.kind == "MAP":
        return pa.map_(_to_arrow(source.items[0]), _to_arrow(source.items[1]))
    if source.kind == "STRUCT":
        return pa.struct([pa.field(n, _to_arrow(t)) for n, t in zip(source.names, source.items, strict=True)])
    return _ARROW[source.kind]


_FROM_ARROW = {
    pa.string(): "VARCHAR", pa.large_string(): "VARCHAR", pa.string_view(): "VARCHAR", pa.binary(): "BLOB",
    pa.large_binary(): "BLOB", pa.bool_(): "BOOLEAN", pa.int8(): "TINYINT", pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.uint8(): "UTINYINT", pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER", pa.uint64(): "UBIGINT", pa.float16(): "FLOAT", pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE", pa.date32(): "DATE", pa.date64(): "DATE", pa.null(): "VARCHAR",
    pa.month_day_nano_interval(): "INTERVAL",
}  # fmt: skip
_UNITS = {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}


def from_arrow_type(source: pa.DataType) -> str:
    """The type name of an Arrow type.

    Raises:
        UnknownTypeName: an Arrow type the language has no name for.
    """
    if pa.types.is_decimal(source):
        return f"DECIMAL({source.precision},{source.scale})"
    if pa.types.is_timestamp(source):
        return "TIMESTAMPTZ" if source.tz else _UNITS[source.unit]
    if pa.types.is_time(source):
        return "TIME"
    if pa.types.is_dictionary(source):
        return from_arrow_type(source.value_type)
    if pa.types.is_map(source):
        return f"MAP({from_arrow_type(source.key_type)}, {from_arrow_type(source.item_type)})"
    if pa.types.is_list(source) or pa.types.is_large_list(source) or pa.types.is_fixed_size_list(source):
        return f"{from_arrow_type(source.value_type)}[]"
    if pa.types.is_struct(source):
        inner = ", ".join(f"{quote_name(f.name)} {from_arrow_type(f.type)}" for f in source)
        return f"STRUCT({inner})"
    if isinstance(source, pa.BaseExtensionType):
        return "JSON" if source.extension_name == "arrow.json" else from_arrow_type(source.storage_type)
    name = _FROM_ARROW.get(source)
    if name is None:
        raise UnknownTypeName(f"Arrow type {source} has no twin.")
    return name
