"""Expressions and whole mappings as PostgreSQL, for loads whose source and target share a server.

Only what PostgreSQL answers with the same value for every row is pushed down; the rest raises NotPushable and the load
runs through the worker. Faults are found by conditions here too: PostgreSQL would abort the whole statement.
"""

# ruff: noqa: S608 - making SQL is this module's work; what people typed reaches it as checked nodes and quoted text

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apps.expressions.contracts import CompiledSelect, CompileRequest, Schema
from apps.expressions.exceptions import NotPushable
from apps.expressions.services.checking import analyse, invalid
from apps.expressions.services.compilation import Breach, SelectDialect, build_select
from apps.expressions.services.emitting import Layers, Value, any_fault
from apps.expressions.services.postgres import PostgresEmitter, PostgresLayers
from apps.expressions.services.postgres_types import postgres_type
from apps.expressions.services.rendering import quote_text
from apps.expressions.tree import Name
from apps.expressions.types import SqlType, quote_name

_MOST_CHARS = 60_000


@dataclass(frozen=True, slots=True)
class Transpiled:
    """An expression in another dialect.

    Attributes:
        sql: its value; NULL where it has none.
        fault_sql: BOOLEAN, whether the row is at fault (division by zero, overflow …).
        type: DuckDB type of the value.
    """

    sql: str
    fault_sql: str
    type: str


class _Inline(Layers):
    """No layers: the text stands where its value is needed."""

    def keep(self, sql: str, level: int) -> Value:
        """The text itself."""
        if len(sql) > _MOST_CHARS:
            raise NotPushable("The expression is too large to be pushed down.")
        return Value(sql if sql.startswith("(") else f"({sql})", 0, (), True)


class PostgresSelect(SelectDialect):
    """PostgreSQL around the expressions: errors and source as JSONB."""

    emitter = PostgresEmitter
    layers = PostgresLayers
    small_integer = "smallint"

    def type_name(self, name: SqlType) -> str:
        """PostgreSQL's name of a type."""
        return postgres_type(name)

    def is_false(self, sql: str) -> str:
        """A condition that is FALSE, not NULL; PostgreSQL compares with DISTINCT at five times the cost."""
        return f"({sql} IS FALSE)"

    def errors(self, groups: list[list[Breach]]) -> str:
        """A JSONB array."""
        if not groups:
            return "'[]'::jsonb"
        rows = ", ".join(f"({case})" for case in self.cases(groups))
        return f"(SELECT coalesce(jsonb_agg(e), '[]'::jsonb) FROM (VALUES {rows}) AS _found(e) WHERE e IS NOT NULL)"

    def entry(self, breach: Breach) -> str:
        """A JSONB object."""
        target = quote_text(breach.field) if breach.field is not None else "NULL::text"
        return (
            f"jsonb_build_object('rule', {quote_text(breach.rule)}, 'field', {target}, "
            f"'code', {quote_text(breach.code)}, 'message', {quote_text(breach.message)})"
        )

    def source(self, schema: Schema) -> str:
        """A JSONB object; built in parts, a call takes a hundred arguments."""
        fields = list(schema)
        parts = [
            "jsonb_build_object(" + ", ".join(f"{quote_text(f.name)}, {quote_name(f.name)}" for f in chunk) + ")"
            for chunk in (fields[start : start + 40] for start in range(0, len(fields), 40))
        ]
        return f"({' || '.join(parts)})" if parts else "'{}'::jsonb"


def transpile(source: str, schema: Schema, dialect: Literal["postgres"] = "postgres") -> Transpiled:
    """One expression in another dialect.

    Args:
        source: the expression.
        schema: columns it uses; they have the same names in the target's table.
        dialect: only `postgres`.

    Raises:
        ExpressionInvalid: the expression has errors.
        NotPushable: the result could differ; the message says why.
    """
    if dialect != "postgres":
        raise NotPushable(f"There is no way to push down to {dialect}.")
    analysis = analyse(source, schema)
    if analysis.tree is None or analysis.types is None or not analysis.checked.ok:
        raise invalid("expression", analysis.checked)

    def column(node: Name) -> Value:
        found = analysis.names.resolve(node)
        if found.path:
            raise NotPushable(f"{found.column} is a struct.")
        return Value(quote_name(found.column), 0, (), True)

    value = PostgresEmitter(analysis.types, _Inline(), column).emit(analysis.tree)
    fault = any_fault(value.faults)
    sql = value.sql if not value.faults else f"(CASE WHEN {fault} THEN NULL ELSE {value.sql} END)"
    if len(sql) + len(fault) > _MOST_CHARS:
        raise NotPushable("The expression is too large to be pushed down.")
    return Transpiled(sql, fault, str(analysis.types[analysis.tree]))


def transpile_select(request: CompileRequest, dialect: Literal["postgres"] = "postgres") -> CompiledSelect:
    """A whole mapping as PostgreSQL SELECTs; `over(…)` names the source.

    `_errors` and `_source` are JSONB there; everything else is as in `compile_select`.

    Example:
        pushed = transpile_select(request)
        cursor.execute("INSERT INTO … " + pushed.over("SELECT id AS _row_id, * FROM erp.invoices", pushed.accepted_sql))

    Raises:
        ExpressionInvalid: an expression has errors.
        NotPushable: an expression's result could differ; the message says why.
    """
    if dialect != "postgres":
        raise NotPushable(f"There is no way to push down to {dialect}.")
    return build_select(request, PostgresSelect())
