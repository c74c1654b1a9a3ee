"""Every expression of a definition, checked against the columns it may use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from apps.core.exceptions import Problem
from apps.expressions.choices import Code
from apps.expressions.contracts import CheckedExpression, Field, Schema
from apps.expressions.contracts import Problem as TextProblem
from apps.expressions.services.checking import check_expression
from apps.expressions.services.parsing import ParseRefused, parse_expression
from apps.expressions.types import find_type
from apps.integrations.contracts import FlowDefinition, MappedField
from apps.integrations.services.environments import list_secret_variables
from apps.integrations.services.sources import VARIABLES_COLUMN, with_variables
from apps.integrations.shape import path_text


@dataclass(frozen=True)
class _Text:
    """One expression and where it stands; `field` is set for mapped fields, which alone do not see `mapped`."""

    path: str
    text: str
    target_type: str
    field: MappedField | None = None


@dataclass
class ExpressionFindings:
    """What the expressions of a definition are.

    Attributes:
        problems: by path, with offsets.
        fields: {target, type, columns, expression_type, nullable} of every mapped field without errors.
        used_columns: source columns that anything reads.
    """

    problems: list[Problem] = field(default_factory=list)
    fields: list[dict[str, Any]] = field(default_factory=list)
    used_columns: frozenset[str] = frozenset()


def check_expressions(
    definition: FlowDefinition, source: Schema | None, *, nulls_known: bool = True
) -> ExpressionFindings:
    """Check mapping, filter, validations and controls.

    Args:
        definition: of right shape and graph.
        source: columns of the source; None when nothing is known: then texts are only parsed.
        nulls_known: the source says which columns may be NULL; else no warning is made of it.
    """
    if source is None:
        return ExpressionFindings(problems=list(_parse_all(definition)))
    findings = ExpressionFindings()
    used: set[str] = set()
    schema = with_variables(source, definition)
    mapped = _mapped_schema(definition)
    for item in _texts(definition):
        checked = check_expression(
            item.text,
            schema,
            item.target_type,
            mapped=mapped if item.field is None else None,
            target_nullable=not nulls_known or item.field is None or item.field.nullable,
        )
        findings.problems += [_place(item.path, problem) for problem in checked.problems]
        if item.field is None:
            findings.problems += _boolean(item.path, checked)
        used |= {name for name in checked.columns if not name.startswith("mapped.")}
        if item.field is not None and checked.ok:
            findings.fields.append(_to_field(item.field, checked))
    for index, control in enumerate(definition.reconciliation.controls):
        base = f"reconciliation.controls[{index}]"
        for side, text, columns in (("source", control.source, schema), ("target", control.target, mapped)):
            checked = check_expression(text, columns)
            findings.problems += [_place(f"{base}.{side}", problem) for problem in checked.problems]
            findings.problems += _countable(f"{base}.{side}", control.aggregate, checked)
            if side == "source":
                used |= set(checked.columns)
    findings.problems += _variables(definition, used)
    findings.used_columns = frozenset(used - {VARIABLES_COLUMN})
    return findings


def _texts(definition: FlowDefinition) -> Iterator[_Text]:
    base = ["nodes", definition.index_of("map"), "config"]
    for index, item in enumerate(definition.map.fields):
        yield _Text(path_text([*base, "fields", index, "expression"]), item.expression, item.type, item)
    if definition.map.filter is not None:
        yield _Text(path_text([*base, "filter"]), definition.map.filter, "BOOLEAN")
    for index, rule in enumerate(definition.map.validations):
        yield _Text(path_text([*base, "validations", index, "expression"]), rule.expression, "BOOLEAN")


def _to_field(item: MappedField, checked: CheckedExpression) -> dict[str, Any]:
    return {
        "target": item.target,
        "type": item.type,
        "columns": [name for name in checked.columns if name != VARIABLES_COLUMN],
        "expression_type": checked.type,
        "nullable": item.nullable and checked.nullable,
    }


def _mapped_schema(definition: FlowDefinition) -> Schema:
    return Schema(
        tuple(
            Field(item.target, item.type, item.nullable)
            for item in definition.map.fields
            if find_type(item.type) is not None
        )
    )


def _place(path: str, problem: TextProblem) -> Problem:
    if problem.code == Code.UNKNOWN_TYPE and path.endswith("].expression") and problem.start == 0:
        place = path.removesuffix("expression") + "type"
        return Problem(place, problem.code, problem.message, problem.severity, hint=problem.hint)
    hint = problem.hint
    if problem.code in {Code.UNKNOWN_COLUMN, Code.UNKNOWN_FIELD} and "'var'" in problem.message:
        hint = "Declare the variable under `variables` of the flow."
    return Problem(path, problem.code, problem.message, problem.severity, problem.start, problem.end, hint)


def _boolean(path: str, checked: CheckedExpression) -> list[Problem]:
    # A number would be converted to TRUE unless it is 0; as a rule that is a mistake, not a wish.
    if checked.type is None or checked.type in {"BOOLEAN", '"NULL"'}:
        return []
    message = f"This must be true or false, not {checked.type}."
    return [
        Problem(path, "integrations.not_boolean", message, start=0, end=len(checked.source), hint="Compare it: … > 0")
    ]


def _countable(path: str, aggregate: str, checked: CheckedExpression) -> list[Problem]:
    if not checked.ok or checked.type is None or aggregate == "count":
        return []
    found = find_type(checked.type)
    if found is not None and found.is_number:
        return []
    message = f"A control total of {aggregate} needs a number, not {checked.type}."
    return [Problem(path, "integrations.control_not_a_number", message, start=0, end=len(checked.source))]


def _variables(definition: FlowDefinition, used: set[str]) -> list[Problem]:
    names = list(definition.variables)
    if not names:
        return []
    problems = []
    if VARIABLES_COLUMN not in used:
        problems.append(
            Problem("variables", "integrations.variable_unused", "No expression reads a variable.", severity="warning")
        )
    for name in sorted(list_secret_variables(names)):
        message = f"{name!r} is secret in an environment; what expressions make of it may be seen in the target."
        problems.append(Problem(f"variables.{name}", "integrations.secret_variable_used", message, severity="warning"))
    return problems


def _parse_all(definition: FlowDefinition) -> Iterator[Problem]:
    texts = [(item.path, item.text) for item in _texts(definition)]
    for index, control in enumerate(definition.reconciliation.controls):
        texts.append((f"reconciliation.controls[{index}].source", control.source))
        texts.append((f"reconciliation.controls[{index}].target", control.target))
    for path, text in texts:
        try:
            parse_expression(text)
        except ParseRefused as refused:
            yield _place(path, refused.problem)
