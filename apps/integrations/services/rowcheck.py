"""One corrected row against the rules that hold now: what the quarantine asks before it accepts a correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pyarrow as pa

from apps.core.exceptions import PortalError
from apps.expressions.contracts import Field, Schema
from apps.expressions.services.inputs import InputProblem, infer_schema, to_parameters
from apps.expressions.services.pipeline import BatchMapper, rejected_rows
from apps.expressions.types import to_arrow_type
from apps.integrations.contracts import FlowDefinition
from apps.integrations.exceptions import FlowNotFound
from apps.integrations.selectors import find_binding, find_deployed_version, get_flow, get_version_by_id
from apps.integrations.services.environments import resolve_variables
from apps.integrations.services.mapping import ROW_ID, to_compile_request
from apps.integrations.services.sources import describe_entity, schema_of_contract, schema_of_entity
from apps.quality.contracts import BrokenRule
from apps.quality.registries import RowChecker


class FlowRowChecker(RowChecker):
    """Applies the mapping of the version that is deployed now; else the one that rejected the row; else the draft."""

    type = "integrations.flow"

    def check_row(
        self, *, flow_id: UUID, flow_version_id: UUID | None, environment_id: UUID, values: Mapping[str, Any]
    ) -> Sequence[BrokenRule] | None:
        """Every rule the row breaks now; None when the flow is gone."""
        try:
            definition = find_current_definition(flow_id, flow_version_id, environment_id)
            schema = _schema_for(definition, environment_id, values)
            broken = _unreadable(schema, values)
            if broken:
                return broken
            variables = resolve_variables(environment_id, definition, purpose="quarantine.check")
            return _map_one(definition, schema, variables, values)
        except FlowNotFound:
            return None
        except PortalError as error:
            return [BrokenRule("definition", None, error.code, error.message)]


def find_current_definition(flow_id: UUID, flow_version_id: UUID | None, environment_id: UUID) -> FlowDefinition:
    """The rules that a replay would use.

    Raises:
        FlowNotFound: the flow does not exist.
        DefinitionInvalid: there is only a draft, and it is incomplete.
    """
    flow = get_flow(flow_id)
    deployed = find_deployed_version(flow_id, environment_id)
    if deployed is not None:
        return deployed.load
    if flow_version_id is not None:
        return get_version_by_id(flow_version_id).load
    return FlowDefinition.from_json(flow.draft)


def _schema_for(definition: FlowDefinition, environment_id: UUID, values: Mapping[str, Any]) -> Schema:
    if definition.contract.fields:
        return schema_of_contract(definition.contract)
    connection_id = find_binding(environment_id, definition.source.connection)
    if connection_id is not None:
        entity = describe_entity(connection_id, definition.source.entity, live=True).entity
        if entity is not None:
            return schema_of_entity(entity)
    return infer_schema(values)


def _unreadable(schema: Schema, values: Mapping[str, Any]) -> list[BrokenRule]:
    broken = []
    for item in schema.fields:
        try:
            to_parameters(values, [item])
        except InputProblem as problem:
            broken.append(BrokenRule("conversion", item.name, "expressions.row.input", str(problem)))
    return broken


def _map_one(
    definition: FlowDefinition, schema: Schema, variables: Mapping[str, str], values: Mapping[str, Any]
) -> list[BrokenRule]:
    request = to_compile_request(definition, schema, variables)
    with BatchMapper(request, memory_mb=128, threads=1, timeout_s=5.0) as mapper:
        mapped = mapper.apply(_one_row(schema.fields, values))
    if mapped.filtered:
        message = "The flow's filter leaves this row out, so it would never be loaded."
        return [BrokenRule("filter", None, "quality.filtered", message)]
    return [BrokenRule.from_json(error) for row in rejected_rows(mapped) for error in row["errors"]]


def _one_row(fields: Sequence[Field], values: Mapping[str, Any]) -> pa.Table:
    parameters = to_parameters(values, fields)
    columns = {ROW_ID: pa.array([0], pa.int64())}
    for item, value in zip(fields, parameters, strict=True):
        columns[item.name] = pa.array([value], to_arrow_type(item.type))
    return pa.table(columns)
