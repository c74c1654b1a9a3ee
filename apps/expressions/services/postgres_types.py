"""Types, casts and literals that mean the same in PostgreSQL."""

from __future__ import annotations

import re

from apps.expressions.exceptions import NotPushable
from apps.expressions.tree import Cast, Text
from apps.expressions.types import SqlType, parse_type

_TYPES = {
    "VARCHAR": "text", "BOOLEAN": "boolean", "SMALLINT": "smallint", "INTEGER": "integer", "BIGINT": "bigint",
    "DOUBLE": "double precision", "FLOAT": "real", "DATE": "date", "TIMESTAMP": "timestamp", "TIME": "time",
    "TIMESTAMPTZ": "timestamptz", "UUID": "uuid", "BLOB": "bytea", "JSON": "jsonb", "INTERVAL": "interval",
    "NULL": "text",
}  # fmt: skip
_NUMERIC = {"TINYINT": "smallint", "UTINYINT": "smallint", "USMALLINT": "integer", "UINTEGER": "bigint"}
INTERVALS = {"year": "years", "month": "months", "week": "weeks", "day": "days", "hour": "hours", "minute": "mins",
              "second": "secs"}  # fmt: skip
FAMILIES = {
    "any": None, "same": None, "text": {"text"}, "text_or_integer": {"text", "integer"}, "integer": {"integer"},
    "decimal": {"decimal", "integer"},
    "exact": {"decimal", "integer"}, "number": {"decimal"}, "as_double": {"integer", "decimal", "double"},
    "date": {"date"}, "timestamp": {"timestamp"}, "temporal": {"date", "timestamp"}, "boolean": {"boolean"},
}  # fmt: skip
_DATE, _TIME = r"\d{4}-\d{2}-\d{2}", r" \d{2}:\d{2}:\d{2}(\.\d{1,6})?"
_LITERALS = {
    "DATE": re.compile(_DATE),
    "TIMESTAMP": re.compile(f"{_DATE}({_TIME})?"),
    "INTEGER": re.compile(r"-?\d{1,9}"),
    "BIGINT": re.compile(r"-?\d{1,18}"),
    "DECIMAL": re.compile(r"-?\d{1,18}(\.\d{1,18})?"),
    "UUID": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "TIMESTAMPTZ": re.compile(rf"{_DATE}{_TIME}[+-]\d{{2}}(:\d{{2}})?"),
}
ORDERED = {"<", "<=", ">", ">="}
_HOLE = re.compile(r"\{(\d)(?:\|([^}]*))?\}")
_EXACT_BITS = 2**53


def postgres_type(source: SqlType) -> str:
    """PostgreSQL's name of a type.

    Raises:
        NotPushable: it has none.
    """
    if source.kind == "DECIMAL":
        return f"numeric({source.width},{source.scale})"
    if source.kind in {"HUGEINT", "UBIGINT"}:
        return "numeric(38,0)"
    name = _TYPES.get(source.kind) or _NUMERIC.get(source.kind)
    if name is None:
        raise NotPushable(f"PostgreSQL has no {source} that is the same.")
    return name


def reads_alike(text: str, target: SqlType) -> bool:
    """Whether both sides read this text as the same value of the type: one plain form each, nothing clever."""
    pattern = _LITERALS.get(target.kind)
    return pattern is not None and bool(pattern.fullmatch(text))


def is_literal(node: Cast) -> bool:
    """A date, instant or number written out as text."""
    return isinstance(node.operand, Text) and reads_alike(node.operand.value, parse_type(node.type))


def filled(template: str, args: list[str]) -> str:
    """`{0}`, `{1|default}`, `{all}`."""
    text = template.replace("{all}", ", ".join(args))
    return _HOLE.sub(lambda m: args[int(m[1])] if int(m[1]) < len(args) else (m[2] or ""), text)


def double(sql: str, source: SqlType) -> str:
    """An exact number as double precision, rounded by the same steps as the engine's cast."""
    if source.family == "double" or (source.family == "integer" and source.kind not in {"HUGEINT", "UHUGEINT"}):
        return f"({sql})::double precision"
    if source.kind != "DECIMAL" or source.width > 18:
        raise NotPushable(f"{source} as DOUBLE is not the same in PostgreSQL.")
    if source.scale == 0:
        return f"({sql})::bigint::double precision"
    power = 10**source.scale
    whole = f"(({sql}) * {power})::bigint"
    direct = f"({whole}::double precision / {power}::double precision)"
    if source.width <= 15:
        return direct
    parts = (
        f"(({whole} / {power})::double precision + ({whole} % {power})::double precision / {power}::double precision)"
    )
    return f"(CASE WHEN abs({whole}) <= {_EXACT_BITS} THEN {direct} ELSE {parts} END)"


def cast_sql(sql: str, source: SqlType, target: SqlType) -> str | None:
    """Casts that mean the same on both sides and cannot fail; None for all others."""
    pair = (source.family, target.family)
    if pair in {("integer", "text"), ("boolean", "text"), ("uuid", "text"), ("boolean", "integer")}:
        return f"CAST({sql} AS {postgres_type(target)})" if target.kind != "BIGINT" else f"({sql})::integer::bigint"
    if pair == ("decimal", "text"):
        return f"CAST(CAST({sql} AS numeric(38,{source.scale})) AS text)"
    if pair == ("date", "text"):
        return f"to_char({sql}, 'YYYY-MM-DD')"
    if pair == ("integer", "boolean"):
        return f"({sql} <> 0)"
    if pair in {("date", "timestamp"), ("timestamp", "date")} and target.kind in {"TIMESTAMP", "DATE"}:
        return f"CAST({sql} AS {postgres_type(target)})"
    if pair in {("date", "timestamptz"), ("timestamp", "timestamptz")}:
        return f"(CAST({sql} AS timestamp) AT TIME ZONE 'UTC')"
    if source.family == "timestamptz" and target.kind in {"DATE", "TIMESTAMP"}:
        return f"CAST(({sql} AT TIME ZONE 'UTC') AS {postgres_type(target)})"
    return None
