"""Whether a definition can work: shape, rules, expressions against the source, and the target's abilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apps.connectors.contracts import EntitySchema
from apps.core.exceptions import Problem
from apps.expressions.contracts import Schema
from apps.integrations.contracts import DefinitionCheck, FlowDefinition
from apps.integrations.exceptions import EnvironmentNotFound
from apps.integrations.process_contracts import ProcessDefinition
from apps.integrations.selectors import find_binding, get_environment, resolve_binding
from apps.integrations.services.expressions import check_expressions
from apps.integrations.services.processes import find_process_problems
from apps.integrations.services.sources import (
    Described,
    describe_entity,
    find_capabilities,
    schema_of_contract,
    schema_of_entity,
)
from apps.integrations.services.structure import find_graph_problems, find_rule_problems
from apps.integrations.services.systems import find_cursor_problems, find_system_problems, find_target_problems
from apps.integrations.shape import find_shape_problems, is_process, path_text
from apps.quality.contracts import ContractField
from apps.quality.services.drift import compare_schema

DESIGN_ENVIRONMENT = "dev"


@dataclass
class _Ends:
    """What is known about both ends while a definition is checked."""

    problems: list[Problem] = field(default_factory=list)
    source: EntitySchema | None = None
    source_known: str = "unknown"
    target: EntitySchema | None = None
    target_known: str = "unknown"


def validate_definition(
    definition: Mapping[str, Any], *, live: bool = True, environment: str = DESIGN_ENVIRONMENT
) -> DefinitionCheck:
    """Find everything that is wrong or doubtful in a definition.

    Args:
        definition: JSON of the definition; may be incomplete or wrong in any way.
        live: ask the systems (within a minute they are asked once); False uses only what is remembered.
        environment: whose connections the slots mean.

    Returns:
        Problems with path and, for expressions, character offsets. A source that does not answer is a warning: the
        data contract's columns are used instead, and `source_known` says so.
    """
    shape = find_shape_problems(dict(definition))
    if shape:
        return DefinitionCheck(problems=tuple(shape), fields=(), source_known="unknown")
    if is_process(definition):
        return DefinitionCheck(
            problems=tuple(_in_order(find_process_problems(ProcessDefinition.from_json(definition), environment))),
            fields=(),
            source_known="unknown",
        )
    parsed = FlowDefinition.from_json(definition)
    graph = find_graph_problems(parsed)
    if graph:
        return DefinitionCheck(problems=tuple(graph), fields=(), source_known="unknown")
    problems = find_rule_problems(parsed)
    ends = _look_at_ends(parsed, live=live, environment=environment)
    problems += ends.problems
    schema, known = _schema_for_expressions(parsed, ends)
    if schema is None:
        problems.append(_unknown_source(parsed, live))
    expressions = check_expressions(parsed, schema, nulls_known=known != "contract")
    problems += expressions.problems
    problems += find_cursor_problems(parsed, schema)
    problems += find_target_problems(parsed, ends.target if ends.target_known == "live" else None)
    if ends.source is not None and ends.source_known == "live":
        problems += _drift(parsed, ends.source, expressions.used_columns)
    return DefinitionCheck(
        problems=tuple(_in_order(problems)),
        fields=tuple(expressions.fields),
        source_known=known,
        source_fields=_fields_of(schema),
    )


def _look_at_ends(definition: FlowDefinition, *, live: bool, environment: str) -> _Ends:
    ends = _Ends()
    try:
        place = get_environment(environment)
    except EnvironmentNotFound as error:
        ends.problems.append(Problem("", error.code, error.message))
        return ends
    for kind in ("source", "target"):
        config = getattr(definition, kind)
        base = ["nodes", definition.index_of(kind), "config"]
        connection_id = find_binding(place.id, config.connection)
        if connection_id is None:
            ends.problems.append(_unbound(path_text([*base, "connection"]), config.connection, place.name))
            continue
        ends.problems += find_system_problems(definition, kind, find_capabilities(connection_id))
        described = describe_entity(connection_id, config.entity, live=live)
        if kind == "source":
            ends.source, ends.source_known = described.entity, described.origin
            ends.problems += _source_faults(path_text([*base, "entity"]), described, definition)
        else:
            ends.target, ends.target_known = described.entity, described.origin
            ends.problems += _target_faults(path_text([*base, "connection"]), described)
    return ends


def _source_faults(path: str, described: Described, definition: FlowDefinition) -> list[Problem]:
    fault = described.fault
    if fault is None:
        return []
    if fault.gone:
        return [Problem(path, fault.code, fault.message, hint=fault.remedy)]
    instead = "nothing is known about its columns"
    if described.entity is not None:
        instead = "the columns it had when it last answered were used"
    elif definition.contract.fields:
        instead = "the columns of the data contract were used"
    message = f"{fault.message} The source could not be asked, so {instead}."
    return [Problem(path, "integrations.source_unreachable", message, severity="warning", hint=fault.remedy)]


def _target_faults(path: str, described: Described) -> list[Problem]:
    fault = described.fault
    if fault is None or fault.gone:  # An entity that is not there yet is made by the first load.
        return []
    message = f"{fault.message} The target could not be asked, so its columns were not compared."
    return [Problem(path, "integrations.target_unreachable", message, severity="warning", hint=fault.remedy)]


def _schema_for_expressions(definition: FlowDefinition, ends: _Ends) -> tuple[Schema | None, str]:
    if ends.source is not None:
        return schema_of_entity(ends.source), ends.source_known
    if definition.contract.fields:
        return schema_of_contract(definition.contract), "contract"
    return None, "unknown"


def _unknown_source(definition: FlowDefinition, live: bool) -> Problem:
    return Problem(
        path=path_text(["nodes", definition.index_of("source"), "config", "entity"]),
        code="integrations.source_unknown",
        message="Nothing is known about the source's columns, so expressions were only read, not checked.",
        severity="error" if live else "warning",
        hint="Make the source reachable, or list its columns in the data contract.",
    )


def _unbound(path: str, slot: str, environment: str) -> Problem:
    return Problem(
        path=path,
        code="integrations.binding_missing",
        message=f"There is no connection {slot!r} in {environment}.",
        hint="Create a connection of that short name, or bind the slot under Settings, Environments.",
    )


def _drift(definition: FlowDefinition, source: EntitySchema, used: frozenset[str]) -> list[Problem]:
    actual = [ContractField(item.name, item.type) for item in source.fields]
    report = compare_schema(definition.contract, actual, used=used)
    return [
        Problem(
            path="contract.fields",
            code=f"quality.{item.change}",
            message=item.message,
            severity="error" if item.action == "stop" else "warning",
            hint="Take the source's columns of today into the data contract, or choose another mode.",
        )
        for item in report.decisions
        if item.action == "stop" or item.change != "new_column"
    ]


def design_binding(connection: str, environment: str = DESIGN_ENVIRONMENT) -> UUID:
    """Connection meant while designing.

    Args:
        connection: slot, or id of a connection.
        environment: whose bindings count.

    Raises:
        BindingMissing: it leads nowhere.
    """
    try:
        return UUID(connection)
    except ValueError:
        return resolve_binding(get_environment(environment).id, connection)


def _fields_of(schema: Schema | None) -> tuple[dict[str, Any], ...]:
    if schema is None:
        return ()
    return tuple({"name": item.name, "type": item.type, "nullable": item.nullable} for item in schema.fields)


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.severity != "error")
