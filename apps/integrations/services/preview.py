"""The mapping on sample rows: what would be accepted, and every rule the others break."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pyarrow as pa

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.connectors.contracts import SOURCE_POSITION, ReadRequest
from apps.connectors.services.sessions import open_connection
from apps.core.exceptions import PortalError, Problem
from apps.expressions.choices import RowCode
from apps.expressions.contracts import CompiledSelect, Schema
from apps.expressions.exceptions import EvaluationFailed
from apps.expressions.services.compilation import ACCEPTED, ERRORS, FILTERED, SOURCE, STATE, compile_select
from apps.expressions.services.sandbox import Sandbox, open_sandbox
from apps.expressions.types import quote_name
from apps.integrations.contracts import FlowDefinition, MapConfig
from apps.integrations.exceptions import BindingMissing, DefinitionInvalid, SampleUnavailable
from apps.integrations.selectors import get_environment, get_flow, resolve_binding
from apps.integrations.services.environments import resolve_variables
from apps.integrations.services.expressions import check_expressions
from apps.integrations.services.mapping import ROW_ID, to_compile_request
from apps.integrations.services.sources import describe_entity, schema_of_entity
from apps.integrations.services.structure import find_graph_problems
from apps.integrations.services.validation import DESIGN_ENVIRONMENT
from apps.integrations.shape import path_text
from apps.quality.services.payloads import to_exact

MOST_ROWS = 100
TIMEOUT_S = 5.0
_SAMPLE = "sample"


@dataclass(frozen=True)
class PreviewRow:
    """One sample row.

    Attributes:
        source, target: {column: JSON value}, exact values as text; targets of a rejected row where they have a value.
        accepted: it would be loaded.
        filtered: the filter leaves it out on purpose.
        errors: every broken rule, {rule, field, code, message}.
        warnings: ids of broken rules of severity `warning`.
    """

    source: dict[str, Any]
    target: dict[str, Any]
    accepted: bool
    filtered: bool
    errors: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """The mapping on sample rows. `problems` are findings about expressions; fields with errors are left out."""

    source_fields: tuple[dict[str, Any], ...]
    target_fields: tuple[dict[str, Any], ...]
    rows: tuple[PreviewRow, ...]
    problems: tuple[Problem, ...]


def preview_mapping(
    flow_id: UUID, *, actor: Actor, definition: Mapping[str, Any] | None = None, limit: int = 20
) -> Preview:
    """Try a mapping on the first rows of its source.

    Fields, rules and filter with errors are left out, so that one mistake does not blind the rest. Nothing is written.

    Args:
        flow_id: the flow.
        actor: needs `flow:view` and `connection:use`.
        definition: what to try; the flow's draft when absent.
        limit: rows, 1 to `MOST_ROWS`.

    Raises:
        FlowNotFound: there is none.
        DefinitionInvalid: the shape or the graph is wrong; problems by path.
        BindingMissing, SampleUnavailable: the source cannot be reached or read; says why.
    """
    check_permission(actor, "flow:view")
    check_permission(actor, "connection:use")
    flow = get_flow(flow_id)
    parsed = FlowDefinition.from_json(definition if definition is not None else flow.draft)
    graph = find_graph_problems(parsed)
    if graph:
        raise DefinitionInvalid(graph[0].message, field=graph[0].path, problems=graph)
    schema, rows = _sample(parsed, max(1, min(limit, MOST_ROWS)))
    findings = check_expressions(parsed, schema)
    usable = _without_errors(parsed, findings.problems)
    variables = _variables(parsed)
    compiled = compile_select(to_compile_request(usable, schema, variables))
    with open_sandbox(memory_mb=256, threads=1) as sandbox:
        mapped = _apply(sandbox, compiled, schema, rows)
    return Preview(
        source_fields=tuple({"name": item.name, "type": item.type} for item in schema.fields),
        target_fields=tuple({"name": item.name, "type": item.type} for item in compiled.fields),
        rows=_to_rows(compiled, rows, mapped),
        problems=tuple(findings.problems),
    )


def _sample(definition: FlowDefinition, limit: int) -> tuple[Schema, pa.Table]:
    source = definition.source
    try:
        connection_id = resolve_binding(get_environment(DESIGN_ENVIRONMENT).id, source.connection)
        described = describe_entity(connection_id, source.entity, live=True)
        with open_connection(connection_id, "preview") as connector:
            request = ReadRequest(entity=source.entity, limit=limit, batch_rows=limit)
            batches = []
            for batch in connector.read(request):
                batches.append(batch)
                if sum(item.num_rows for item in batches) >= limit:
                    break
    except BindingMissing:
        raise
    except PortalError as error:
        raise SampleUnavailable(
            f"The source cannot be read: {error.message}", field="source", remedy=error.remedy, cause=error.code
        ) from error
    if not batches and described.entity is None:
        raise SampleUnavailable("The source has no rows, and nothing is known about its columns.")
    schema = schema_of_entity(described.entity) if described.entity is not None else _schema_of(batches[0].schema)
    if not batches:
        return schema, schema.to_arrow().empty_table()
    table = pa.Table.from_batches(batches).slice(0, limit)
    names = [field.name for field in schema.fields if field.name in table.column_names]
    return Schema(tuple(field for field in schema.fields if field.name in names)), table.select(names)


def _schema_of(arrow: pa.Schema) -> Schema:
    return Schema.from_arrow(pa.schema([field for field in arrow if field.name != SOURCE_POSITION]))


def _variables(definition: FlowDefinition) -> dict[str, str]:
    # A variable that has no value yet must not blind the preview; an empty text stands in for it.
    filled = replace(definition, variables={name: value or "" for name, value in definition.variables.items()})
    return resolve_variables(get_environment(DESIGN_ENVIRONMENT).id, filled, purpose="flow.preview", mask_secrets=True)


def _without_errors(definition: FlowDefinition, problems: list[Problem]) -> FlowDefinition:
    bad = {problem.path for problem in problems if problem.severity == "error"}
    base = ["nodes", definition.index_of("map"), "config"]
    seen: set[str] = set()
    fields = []
    for index, item in enumerate(definition.map.fields):
        place = [*base, "fields", index]
        folded = item.target.lower()
        if {path_text([*place, "expression"]), path_text([*place, "type"])} & bad or folded in seen or folded[0] == "_":
            continue
        seen.add(folded)
        fields.append(item)
    rules = [
        rule
        for index, rule in enumerate(definition.map.validations)
        if path_text([*base, "validations", index, "expression"]) not in bad
    ]
    kept = MapConfig(
        fields=tuple(fields),
        filter=None if path_text([*base, "filter"]) in bad else definition.map.filter,
        validations=tuple(rule for rule in rules if not _reads_lost_target(rule.expression, definition, seen)),
    )
    nodes = tuple(replace(node, config=kept) if node.kind == "map" else node for node in definition.nodes)
    return replace(definition, nodes=nodes)


def _reads_lost_target(expression: str, definition: FlowDefinition, kept: set[str]) -> bool:
    lost = {item.target.lower() for item in definition.map.fields} - kept
    return any(f"mapped.{name}" in expression.lower() for name in lost)


def _apply(sandbox: Sandbox, compiled: CompiledSelect, schema: Schema, rows: pa.Table) -> list[dict[str, Any]]:
    """Mapped rows in order. A batch the engine refuses is halved until the row at fault is alone."""
    numbered = rows.append_column(ROW_ID, pa.array(range(rows.num_rows), pa.int64()))
    columns = ", ".join(f"CAST({quote_name(item.name)} AS {item.type}) AS {quote_name(item.name)}" for item in schema)
    statement = compiled.over(f"SELECT {quote_name(ROW_ID)}, {columns} FROM {_SAMPLE}")  # noqa: S608 - quoted names

    def run(part: pa.Table) -> list[dict[str, Any]]:
        if part.num_rows == 0:
            return []
        try:
            with sandbox.relation(_SAMPLE, part):
                found: list[dict[str, Any]] = sandbox.run(statement, TIMEOUT_S).to_pylist()
                return found
        except EvaluationFailed as error:
            if part.num_rows == 1:
                broken = {"rule": "row.function", "field": None, "code": RowCode.FUNCTION, "message": error.message}
                return [{ROW_ID: part.column(ROW_ID)[0].as_py(), STATE: 1, ERRORS: [broken]}]
            half = part.num_rows // 2
            return run(part.slice(0, half)) + run(part.slice(half))

    return sorted(run(numbered), key=lambda row: row[ROW_ID])


def _to_rows(compiled: CompiledSelect, rows: pa.Table, mapped: list[dict[str, Any]]) -> tuple[PreviewRow, ...]:
    names = [item.name for item in compiled.fields]
    built = []
    for source, result in zip(rows.to_pylist(), mapped, strict=True):
        result.pop(SOURCE, None)
        warnings = [
            rule for index, rule in enumerate(compiled.warning_rules) if result.get(f"_warning_{index}") is True
        ]
        built.append(
            PreviewRow(
                source=to_exact(source),
                target={name: to_exact(result.get(name)) for name in names},
                accepted=result[STATE] == ACCEPTED,
                filtered=result[STATE] == FILTERED,
                errors=tuple(result.get(ERRORS) or ()),
                warnings=tuple(warnings),
            )
        )
    return tuple(built)
