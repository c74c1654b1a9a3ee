"""The data contract of a flow against its source as it is today."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.integrations.contracts import FlowDefinition
from apps.integrations.exceptions import SourceUnknown
from apps.integrations.selectors import find_deployed_version, get_environment, get_flow, resolve_binding
from apps.integrations.services.mapping import used_columns
from apps.integrations.services.sources import describe_entity
from apps.quality.contracts import ContractField, DriftReport
from apps.quality.services.drift import compare_schema


@dataclass(frozen=True)
class FlowDrift:
    """Differences for one flow. `version` is None when the draft was compared."""

    version: int | None
    report: DriftReport


def report_drift(flow_id: UUID, *, environment: str, actor: Actor) -> FlowDrift:
    """Compare the contract of the deployed version (else of the draft) with the source in an environment.

    Args:
        flow_id: the flow.
        environment: short name; decides which connection the source slot means.
        actor: needs `flow:view` and `connection:use`.

    Raises:
        FlowNotFound, EnvironmentNotFound, BindingMissing: see their messages.
        DefinitionInvalid: only a draft exists, and it is incomplete.
        SourceUnknown: the source does not answer; says why.
    """
    check_permission(actor, "flow:view")
    check_permission(actor, "connection:use")
    flow = get_flow(flow_id)
    place = get_environment(environment)
    deployed = find_deployed_version(flow_id, place.id)
    definition = deployed.load if deployed is not None else FlowDefinition.from_json(flow.draft)
    connection_id = resolve_binding(place.id, definition.source.connection)
    described = describe_entity(connection_id, definition.source.entity, live=True)
    if described.entity is None or described.fault is not None:
        fault = described.fault
        raise SourceUnknown(fault.message if fault else None, remedy=fault.remedy if fault else None)
    actual = [ContractField(item.name, item.type) for item in described.entity.fields]
    report = compare_schema(definition.contract, actual, used=set(used_columns(definition)))
    return FlowDrift(version=None if deployed is None else deployed.number, report=report)
