"""From a definition to what the expression compiler takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from apps.expressions.contracts import CompileRequest, Schema
from apps.expressions.contracts import MappedField as CompiledField
from apps.expressions.contracts import Validation as CompiledRule
from apps.expressions.services.binding import MAPPED, used_names
from apps.expressions.services.parsing import ParseRefused, parse_expression
from apps.integrations.contracts import FlowDefinition, MapConfig
from apps.integrations.services.sources import VARIABLES_COLUMN

ROW_ID = "_row_id"


def to_compile_request(
    definition: FlowDefinition, schema: Schema, variables: Mapping[str, str], *, row_id: str = ROW_ID
) -> CompileRequest:
    """The mapping of a definition with the values of its variables, ready to compile.

    Variables become text literals: they cost nothing per row, travel with a push-down, and never end up among the
    source columns of a rejected row.

    Args:
        definition: valid.
        schema: columns of the source as they are read.
        variables: from `environments.resolve_variables`.
        row_id: input column that identifies a row.
    """
    mapping = bind_map(definition.map, variables)
    return CompileRequest(
        schema=schema,
        fields=tuple(CompiledField(item.target, item.type, item.expression, item.nullable) for item in mapping.fields),
        filter=mapping.filter,
        validations=tuple(
            CompiledRule(
                id=rule.id,
                expression=rule.expression,
                message=rule.message,
                field=rule.field,
                severity="warning" if rule.severity == "warning" else "quarantine",
            )
            for rule in mapping.validations
        ),
        row_id=row_id,
    )


def bind_map(mapping: MapConfig, variables: Mapping[str, str]) -> MapConfig:
    """The mapping with every `var.<name>` replaced by its value."""
    if not variables:
        return mapping
    return MapConfig(
        fields=tuple(replace(item, expression=bind_variables(item.expression, variables)) for item in mapping.fields),
        filter=None if mapping.filter is None else bind_variables(mapping.filter, variables),
        validations=tuple(
            replace(rule, expression=bind_variables(rule.expression, variables)) for rule in mapping.validations
        ),
    )


def bind_variables(expression: str, variables: Mapping[str, str]) -> str:
    """An expression with every `var.<name>` as a text literal.

    Args:
        expression: its text; one that does not parse is returned as it is, for the compiler to refuse.
        variables: values by name; a name that is not there is left for the compiler to refuse.
    """
    if f"{VARIABLES_COLUMN}." not in expression.lower() and f'"{VARIABLES_COLUMN}"' not in expression.lower():
        return expression
    try:
        tree = parse_expression(expression)
    except ParseRefused:
        return expression
    spans = [
        (name.start, name.end, _literal(variables[name.parts[1]]))
        for name in used_names(tree)
        if name.parts[0].lower() == VARIABLES_COLUMN and len(name.parts) == 2 and name.parts[1] in variables
    ]
    text = expression
    for start, end, literal in sorted(spans, reverse=True):
        text = text[:start] + literal + text[end:]
    return text


def used_columns(definition: FlowDefinition) -> tuple[str, ...]:
    """Source columns that the mapping, the filter, the rules, the controls or the load policy read.

    Found in the texts alone, so it works when the source is not reachable. A name is spelled as the data contract
    spells it, where it does; an expression that does not parse reads nothing.
    """
    agreed = {field.name.lower(): field.name for field in definition.contract.fields}
    exact = {field.name for field in definition.contract.fields}
    found: dict[str, None] = {}
    for text in _texts(definition):
        try:
            tree = parse_expression(text)
        except ParseRefused:
            continue
        for name in used_names(tree):
            first = name.parts[0]
            if len(name.parts) > 1 and first.lower() in {VARIABLES_COLUMN, MAPPED}:
                continue
            found[first if first in exact else agreed.get(first.lower(), first)] = None
    load = definition.load
    columns = (load.cursor, load.partition_column)
    return (*found, *(column for column in columns if column and column not in found))


def _texts(definition: FlowDefinition) -> list[str]:
    mapping = definition.map
    texts = [item.expression for item in mapping.fields]
    texts += [rule.expression for rule in mapping.validations]
    texts += [control.source for control in definition.reconciliation.controls]
    return texts if mapping.filter is None else [*texts, mapping.filter]


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
