"""DuckDB types and PostgreSQL types, both ways, and which change of a column is a widening.

The mapping keeps every value exactly: decimals stay decimals, nested values become `jsonb`, nanoseconds are refused by
the encoder when they would be cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DECIMAL = re.compile(r"^(?:DECIMAL|NUMERIC)\((\d+)\s*,\s*(\d+)\)$")
PG_NUMERIC = re.compile(r"^numeric(?:\((\d+),(-?\d+)\))?$")
PG_SIZED_TEXT = re.compile(r"^(?:character varying|character|varchar|bpchar)(?:\(\d+\))?$")

TO_POSTGRES = {
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "UTINYINT": "smallint",
    "SMALLINT": "smallint",
    "USMALLINT": "integer",
    "INTEGER": "integer",
    "UINTEGER": "bigint",
    "BIGINT": "bigint",
    "UBIGINT": "numeric(20,0)",
    "HUGEINT": "numeric(39,0)",
    "UHUGEINT": "numeric(39,0)",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    "JSON": "jsonb",
    "BLOB": "bytea",
    "UUID": "uuid",
    "DATE": "date",
    "TIME": "time without time zone",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP_S": "timestamp without time zone",
    "TIMESTAMP_MS": "timestamp without time zone",
    "TIMESTAMP_NS": "timestamp without time zone",
    "TIMESTAMPTZ": "timestamp with time zone",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "INTERVAL": "interval",
    "BIT": "text",
}
ALIASES = {
    "INT": "INTEGER",
    "INT2": "SMALLINT",
    "INT4": "INTEGER",
    "INT8": "BIGINT",
    "BOOL": "BOOLEAN",
    "TEXT": "VARCHAR",
    "STRING": "VARCHAR",
    "REAL": "FLOAT",
    "FLOAT4": "FLOAT",
    "FLOAT8": "DOUBLE",
    "DECIMAL": "DECIMAL(18,3)",
    "NUMERIC": "DECIMAL(18,3)",
    "DATETIME": "TIMESTAMP",
    "BYTEA": "BLOB",
}
FROM_POSTGRES = {
    "boolean": "BOOLEAN",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "oid": "BIGINT",
    "real": "FLOAT",
    "double precision": "DOUBLE",
    "text": "VARCHAR",
    "name": "VARCHAR",
    "citext": "VARCHAR",
    "bytea": "BLOB",
    "uuid": "UUID",
    "date": "DATE",
    "json": "JSON",
    "jsonb": "JSON",
    "interval": "INTERVAL",
}
# Arrays of these come through the driver as they are; arrays of anything else are read as JSON.
ARRAY_ELEMENTS = {"BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "DATE"}
UNCONSTRAINED_NUMERIC = "DECIMAL(38,12)"
INTEGERS = ("smallint", "integer", "bigint")
INTEGER_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}


@dataclass(frozen=True, slots=True)
class NumericShape:
    """Precision and scale of a bounded numeric."""

    precision: int
    scale: int


def normalise_type(type_: str) -> str:
    """DuckDB's canonical spelling: upper case, no blanks after commas, aliases resolved."""
    text = re.sub(r"\s*,\s*", ",", type_.strip().upper())
    text = re.sub(r"\s*\(\s*", "(", text)
    decimal = DECIMAL.match(text)
    if decimal:
        return f"DECIMAL({int(decimal[1])},{int(decimal[2])})"
    return ALIASES.get(text, text)


def postgres_type(type_: str) -> str:
    """The PostgreSQL type that holds every value of a DuckDB type, as `format_type` spells it."""
    text = normalise_type(type_)
    if text.endswith("[]"):
        element = postgres_type(text[:-2])
        return "jsonb" if element == "jsonb" or text[:-2].endswith("]") else f"{element}[]"
    if text.startswith(("STRUCT", "MAP", "UNION")) or text.endswith("]"):
        return "jsonb"
    decimal = DECIMAL.match(text)
    if decimal:
        return f"numeric({decimal[1]},{decimal[2]})"
    if text.startswith("ENUM"):
        return "text"
    return TO_POSTGRES.get(text, "text")


def duckdb_type(native: str) -> str:
    """The DuckDB type under which the reader gives a column of this PostgreSQL type (`format_type` spelling)."""
    if native.endswith("[]"):
        element = duckdb_type(native[:-2])
        return f"{element}[]" if element in ARRAY_ELEMENTS and not native.endswith("[][]") else "JSON"
    numeric = PG_NUMERIC.match(native)
    if numeric:
        return _decimal(numeric)
    if native.startswith("timestamp"):
        return "TIMESTAMPTZ" if native.endswith("with time zone") else "TIMESTAMP"
    if native.startswith("time") and native.endswith("without time zone"):
        return "TIME"
    if PG_SIZED_TEXT.match(native):
        return "VARCHAR"
    return FROM_POSTGRES.get(native, "VARCHAR")


def numeric_shape(native: str) -> NumericShape | None:
    """Precision and scale of a PostgreSQL numeric, None when it is unbounded or another type."""
    found = PG_NUMERIC.match(native)
    if found is None or found[1] is None:
        return None
    return NumericShape(int(found[1]), int(found[2]))


def merge_types(existing: str, wanted: str) -> str | None:
    """The PostgreSQL type that holds the values of both, or None when no lossless one is known.

    Used when a load's column meets a target column: the result equals `existing` when the values simply fit.
    """
    if existing == wanted:
        return existing
    if existing in INTEGERS and wanted in INTEGERS:
        return max(existing, wanted, key=INTEGERS.index)
    if existing == "numeric" or wanted == "numeric":
        other = wanted if existing == "numeric" else existing
        return "numeric" if other in INTEGERS or other.startswith("numeric") else None
    floats = ("real", "double precision")
    if existing in floats and wanted in floats:
        return "double precision"
    left, right = _digits(existing), _digits(wanted)
    if left is not None and right is not None:
        scale = max(left.scale, right.scale)
        whole = max(left.precision - left.scale, right.precision - right.scale)
        return f"numeric({whole + scale},{scale})"
    if _is_text(existing) and _is_text(wanted):
        return "text" if existing != wanted else existing
    if existing == "date" and wanted == "timestamp without time zone":
        return wanted
    if wanted == "date" and existing == "timestamp without time zone":
        return existing
    if {existing, wanted} == {"json", "jsonb"}:
        return existing
    return None


def _digits(native: str) -> NumericShape | None:
    if native in INTEGER_DIGITS:
        return NumericShape(INTEGER_DIGITS[native], 0)
    return numeric_shape(native)


def _is_text(native: str) -> bool:
    return native in {"text", "citext"} or PG_SIZED_TEXT.match(native) is not None


def _decimal(numeric: re.Match[str]) -> str:
    if numeric[1] is None:
        return UNCONSTRAINED_NUMERIC
    precision, scale = int(numeric[1]), int(numeric[2])
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    return f"DECIMAL({precision},{scale})" if precision <= 38 else "VARCHAR"
