"""Values of expressions for a few rows: previews, branch conditions, gateway transforms, event filters."""

# ruff: noqa: S608 - making SQL is this module's work; what people typed reaches it as checked nodes and quoted text

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from apps.core.exceptions import TooLarge
from apps.expressions.choices import ROW_TEXT, RowCode
from apps.expressions.contracts import ExpressionFault, Field, RowResult, Schema
from apps.expressions.exceptions import EvaluationFailed
from apps.expressions.services.binding import Types
from apps.expressions.services.checking import analyse, invalid
from apps.expressions.services.emitting import Emitter, Fault, Layers, any_fault, column_value
from apps.expressions.services.inputs import InputProblem, infer_schema, to_arrow_rows, to_parameters
from apps.expressions.services.sandbox import DEFAULT_TIMEOUT_S, thread_sandbox
from apps.expressions.tree import Node
from apps.expressions.types import quote_name

MAX_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Named:
    """An expression with the name its value gets."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class _Program:
    """Several expressions as one SELECT: a value and a fault code for each."""

    select: str
    columns: tuple[str, ...]
    has_instants: bool


def evaluate(
    source: str, context: Mapping[str, Any], schema: Schema | None = None, *, timeout_s: float = DEFAULT_TIMEOUT_S
) -> Any:
    """The value of one expression for one JSON context.

    Args:
        source: the expression.
        context: column -> JSON value (str, int, float, Decimal, bool, None, date, datetime, dict, list).
        schema: types of the columns; taken from the values when absent (a JSON number with a fraction is DOUBLE then:
            pass Decimal, or a schema, for money).
        timeout_s: bound.

    Returns:
        A Python value; DECIMAL as Decimal, STRUCT as dict, LIST as list, instants aware in UTC.

    Raises:
        ExpressionInvalid: the text has errors for this schema.
        EvaluationFailed: no value for this context (division by zero, conversion …); `facts["row_code"]` says which.
        EvaluationTimeout, EvaluationMemory: bounds.
    """
    known = schema or infer_schema(context)
    program = _program(((("value", source)),), known)
    fields = [field for field in known if field.name in program.columns]
    try:
        parameters = to_parameters(context, fields)
    except InputProblem as problem:
        raise EvaluationFailed(str(problem), field=problem.column, row_code=RowCode.INPUT) from None
    value, code = _first_row(program, _from_parameters(fields), timeout_s, parameters)
    if code is not None:
        raise EvaluationFailed(f"The value {ROW_TEXT[code]}.", row_code=code)
    return value


def evaluate_many(
    named: Sequence[tuple[str, str]],
    context: Mapping[str, Any],
    schema: Schema | None = None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> dict[str, Any]:
    """The values of several expressions for one JSON context, in one statement.

    Args:
        named: (name, expression) pairs.
        context, schema, timeout_s: as for `evaluate`.

    Raises:
        ExpressionInvalid, EvaluationFailed, EvaluationTimeout, EvaluationMemory: as for `evaluate`.
    """
    if not named:
        return {}
    known = schema or infer_schema(context)
    program = _program(tuple(named), known)
    fields = [field for field in known if field.name in program.columns]
    try:
        parameters = to_parameters(context, fields)
    except InputProblem as problem:
        raise EvaluationFailed(str(problem), field=problem.column, row_code=RowCode.INPUT) from None
    source = _from_parameters(fields)
    if program.has_instants:
        table = _run(program, source, timeout_s, parameters)
        found = [column[0] for column in map(_python, table.columns)]
    else:
        sql = f"WITH _context AS ({source}) {program.select}"
        found = list(thread_sandbox().rows(sql, timeout_s, parameters)[0])
    values: dict[str, Any] = {}
    for index, (name, _) in enumerate(named):
        value, code = found[2 * index : 2 * index + 2]
        if code is not None:
            raise EvaluationFailed(f"{name}: the value {ROW_TEXT[code]}.", field=name, row_code=code)
        values[name] = value
    return values


def evaluate_rows(
    expressions: Sequence[Named | tuple[str, str]],
    rows: Sequence[Mapping[str, Any]],
    schema: Schema,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> list[RowResult]:
    """Values of several expressions for several rows, errors kept apart per row and expression.

    Args:
        expressions: (name, expression) pairs.
        rows: at most 10,000 JSON rows; a missing column is NULL, one that does not fit the schema is a row error.
        schema: types of the columns.
        timeout_s: bound for all rows together.

    Raises:
        ExpressionInvalid: an expression has errors for this schema.
        EvaluationTimeout, EvaluationMemory, TooLarge: bounds.
    """
    named = tuple((item.name, item.expression) if isinstance(item, Named) else item for item in expressions)
    if len(rows) > MAX_ROWS:
        raise TooLarge(f"At most {MAX_ROWS:,} rows are evaluated at a time.", field="rows", value=len(rows))
    program = _program(named, schema)
    if not rows:
        return []
    fields = [field for field in schema if field.name in program.columns]
    data, refused = to_arrow_rows(rows, fields)
    sandbox = thread_sandbox()
    typed = ", ".join(f"CAST({quote_name(f.name)} AS {f.type}) AS {quote_name(f.name)}" for f in fields)
    with sandbox.relation("_rows", data):
        table = _run(program, f"SELECT {typed or '1 AS _'} FROM _rows", timeout_s, None)
    values = [_python(table.column(f"c{i}")) for i in range(len(named))]
    faults = [table.column(f"f{i}").to_pylist() for i in range(len(named))]
    results = []
    for position in range(len(rows)):
        problem = refused.get(position)
        if problem is not None:
            errors = tuple(ExpressionFault(name, RowCode.INPUT, problem) for name, _ in named)
            results.append(RowResult({name: None for name, _ in named}, errors))
            continue
        row_values: dict[str, Any] = {}
        errors_: list[ExpressionFault] = []
        for index, (name, _) in enumerate(named):
            code = faults[index][position]
            row_values[name] = values[index][position] if code is None else None
            if code is not None:
                errors_.append(ExpressionFault(name, code, f"{name} {ROW_TEXT[code]}."))
        results.append(RowResult(row_values, tuple(errors_)))
    return results


def first_fault(tree: Node, types: Types) -> str | None:
    """For an expression without columns: what is wrong with its value, or None."""
    layers = Layers()
    value = Emitter(types, layers, _no_columns).emit(tree)
    sql = f"SELECT {fault_code(value.faults)} AS f, {value.sql} AS v FROM {layers.wrap('(SELECT 1 AS _)')}"
    code = thread_sandbox().run(sql, 1.0).column("f")[0].as_py()
    return None if code is None else ROW_TEXT[code]


def fault_code(faults: Sequence[Fault]) -> str:
    """A VARCHAR: the code of the first fault that holds, or NULL."""
    by_code: dict[str, list[Fault]] = {}
    for fault in faults:
        by_code.setdefault(fault.code, []).append(fault)
    whens = " ".join(f"WHEN {any_fault(items)} THEN '{code}'" for code, items in by_code.items())
    return f"CASE {whens} ELSE NULL END" if whens else "CAST(NULL AS VARCHAR)"


@functools.lru_cache(maxsize=1_024)
def _program(named: tuple[tuple[str, str], ...], schema: Schema) -> _Program:
    layers = Layers()
    selected: list[str] = []
    columns: dict[str, None] = {}
    has_instants = False
    for index, (name, source) in enumerate(named):
        analysis = analyse(source, schema)
        if analysis.tree is None or analysis.types is None or not analysis.checked.ok:
            raise invalid(name, analysis.checked)
        names = analysis.names
        has_instants = has_instants or "TIMESTAMPTZ" in (analysis.checked.type or "")
        columns |= dict.fromkeys(analysis.checked.columns)

        def column(node: Any, names: Any = names) -> Any:
            found = names.resolve(node)
            return column_value(quote_name(found.column), found.path, 0)

        value = Emitter(analysis.types, layers, column).emit(analysis.tree)
        selected += [f"{value.sql} AS c{index}", f"{fault_code(value.faults)} AS f{index}"]
    select = f"SELECT {', '.join(selected)} FROM {layers.wrap('_context')}"
    return _Program(select, tuple(columns), has_instants)


def _no_columns(node: Any) -> Any:
    raise LookupError(node.parts)


def _from_parameters(fields: Sequence[Field]) -> str:
    columns = ", ".join(f"CAST(${i} AS {f.type}) AS {quote_name(f.name)}" for i, f in enumerate(fields, start=1))
    return f"SELECT {columns or '1 AS _'}"


def _first_row(program: _Program, source: str, timeout_s: float, parameters: list[Any]) -> tuple[Any, str | None]:
    if not program.has_instants:  # half the time of the way through Arrow, which knows zones without a further library
        sql = f"WITH _context AS ({source}) {program.select}"
        found: tuple[Any, str | None] = thread_sandbox().rows(sql, timeout_s, parameters)[0]
        return found
    table = _run(program, source, timeout_s, parameters)
    return _python(table.column("c0"))[0], table.column("f0")[0].as_py()


def _run(program: _Program, source: str, timeout_s: float, parameters: list[Any] | None) -> pa.Table:
    sql = f"WITH _context AS ({source}) {program.select}"
    return thread_sandbox().run(sql, timeout_s, parameters=parameters)


def _python(column: pa.ChunkedArray) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):  # a date outside of Python's years 1 to 9999
        values = column.cast(pa.string()).to_pylist()
    return values
