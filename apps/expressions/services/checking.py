"""Everything that can be said about an expression before it runs."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from apps.core.exceptions import Problem as PathProblem
from apps.expressions.choices import Code
from apps.expressions.contracts import CheckedExpression, Problem, Schema
from apps.expressions.exceptions import EvaluationFailed, EvaluationMemory, EvaluationTimeout, ExpressionInvalid
from apps.expressions.services.binding import Names, Types, Unresolved, used_names
from apps.expressions.services.parsing import ParseRefused, parse_expression
from apps.expressions.services.rules import find_problems, is_nullable
from apps.expressions.tree import Node
from apps.expressions.types import SqlType, find_type, fit


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """A checked expression with what compiling it needs."""

    checked: CheckedExpression
    tree: Node | None
    names: Names
    types: Types | None


def check_expression(
    source: str,
    schema: Schema,
    target_type: str | None = None,
    *,
    mapped: Schema | None = None,
    target_nullable: bool = True,
) -> CheckedExpression:
    """Check an expression against a schema and, if given, the type it must fit into.

    Args:
        source: the text.
        schema: columns it may use.
        target_type: DuckDB type name of where the result goes; `BOOLEAN` for filters and rules.
        mapped: mapped targets, seen as `mapped.<target>` (filters and validations).
        target_nullable: False warns when the result may be NULL.

    Returns:
        Type, nullability, lineage and problems. A mistake in the text is a problem, never an exception.
    """
    return analyse(source, schema, target_type, mapped, target_nullable).checked


def ensure_expression(
    source: str,
    schema: Schema,
    target_type: str | None = None,
    *,
    mapped: Schema | None = None,
    path: str = "expression",
) -> CheckedExpression:
    """As `check_expression`, for callers that need a usable one.

    Raises:
        ExpressionInvalid: it has errors; `problems` carry path, code and offsets.
    """
    checked = check_expression(source, schema, target_type, mapped=mapped)
    if not checked.ok:
        raise invalid(path, checked)
    return checked


def invalid(path: str, checked: CheckedExpression) -> ExpressionInvalid:
    """The error for a checked expression that has errors."""
    problems = [
        PathProblem(path, p.code, p.message, p.severity, p.start, p.end, p.hint)
        for p in checked.problems
        if p.severity == "error"
    ]
    return ExpressionInvalid(problems[0].message, field=path, value=checked.source[:200], problems=problems)


@functools.lru_cache(maxsize=1_024)
def analyse(
    source: str,
    schema: Schema,
    target_type: str | None = None,
    mapped: Schema | None = None,
    target_nullable: bool = True,
) -> Analysis:
    """As `check_expression`, keeping tree and types; results are shared, all of it is immutable."""
    names = Names(schema, mapped)
    try:
        tree = parse_expression(source)
    except ParseRefused as refused:
        return Analysis(_refused(source, [refused.problem]), None, names, None)
    columns, unresolved = _lineage(tree, names)
    if unresolved:
        return Analysis(_refused(source, unresolved, columns), tree, names, None)
    types = Types(tree, names)
    refusal = types.ask()
    if refusal is not None:
        return Analysis(_refused(source, [refusal], columns), tree, names, None)
    problems = find_problems(tree, types)
    nullable = is_nullable(tree, names)
    if not any(problem.severity == "error" for problem in problems):
        problems += _target_problems(tree, types[tree], target_type, nullable and not target_nullable)
        problems += _constant_problems(tree, types, columns)
    problems.sort(key=lambda problem: (problem.start, problem.severity))
    failed = any(problem.severity == "error" for problem in problems)
    found = CheckedExpression(source, None if failed else str(types[tree]), nullable, columns, tuple(problems))
    return Analysis(found, tree, names, types)


def _refused(source: str, problems: list[Problem], columns: tuple[str, ...] = ()) -> CheckedExpression:
    return CheckedExpression(source, None, True, columns, tuple(problems))


def _lineage(tree: Node, names: Names) -> tuple[tuple[str, ...], list[Problem]]:
    columns: dict[str, None] = {}
    problems: list[Problem] = []
    for name in used_names(tree):
        try:
            columns[names.resolve(name).column] = None
        except Unresolved as unresolved:
            problems.append(unresolved.problem)
    return tuple(columns), problems


def _target_problems(tree: Node, result: SqlType, target_type: str | None, null_refused: bool) -> list[Problem]:
    found: list[Problem] = []
    span = (tree.start, tree.end)
    if target_type is not None:
        target = find_type(target_type)
        if target is None:
            return [Problem(f"{target_type!r} is not a type.", Code.UNKNOWN_TYPE, "error", *span)]
        how, why = fit(result, target)
        if how == "impossible":
            message = f"The result is {result}; it does not fit into {target}: {why}."
            found.append(Problem(message, Code.NOT_ASSIGNABLE, "error", *span, f"Convert it to {target}."))
        elif how == "lossy":
            message = f"{result} into {target}: {why}."
            hint = f"Say how: round(…), or CAST(… AS {target}) if that is meant."
            found.append(Problem(message, Code.LOSSY, "warning", *span, hint))
    if null_refused:
        message = "The result may be NULL, and the target must not be."
        hint = "Such rows go to the quarantine; coalesce(…, default) avoids that."
        found.append(Problem(message, Code.MAY_BE_NULL, "warning", *span, hint))
    return found


def _constant_problems(tree: Node, types: Types, columns: tuple[str, ...]) -> list[Problem]:
    """An expression without columns that fails fails for every row: say so now."""
    if columns:
        return []
    from apps.expressions.services.evaluation import first_fault

    try:
        fault = first_fault(tree, types)
    except (EvaluationFailed, EvaluationTimeout, EvaluationMemory) as error:
        fault = error.message.rstrip(".")
    if fault is None:
        return []
    return [Problem(f"This fails for every row: {fault}.", Code.TYPE_MISMATCH, "error", tree.start, tree.end)]
