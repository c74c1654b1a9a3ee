"""Reads of the integrations app."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from apps.connectors.selectors import find_connection_by_slug
from apps.integrations.choices import DeploymentStatus
from apps.integrations.contracts import EnvironmentRef, FlowDefinition, FlowRef, PublishedVersion
from apps.integrations.exceptions import (
    BindingMissing,
    EnvironmentNotFound,
    FlowNotFound,
    NotDeployed,
    VersionNotFound,
)
from apps.integrations.models import ConnectionBinding, Deployment, Environment, Flow, FlowVersion


def get_flow(flow_id: UUID) -> FlowRef:
    """Name and state of a flow.

    Raises:
        FlowNotFound: there is none in this tenant.
    """
    flow = Flow.objects.filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    return to_flow(flow)


def to_flow(flow: Flow) -> FlowRef:
    """A table row as plain data."""
    return FlowRef(
        id=flow.pk, name=flow.name, slug=flow.slug, kind=flow.kind, archived=flow.archived_at is not None,
        draft=flow.draft, draft_revision=flow.draft_revision,
    )  # fmt: skip


def list_flow_names(flow_ids: list[UUID]) -> Mapping[UUID, str]:
    """{id: name} of those flows, in one query."""
    return dict(Flow.objects.filter(pk__in=flow_ids).values_list("pk", "name"))


def get_environment(slug: str) -> EnvironmentRef:
    """The environment of that short name.

    Raises:
        EnvironmentNotFound: there is none.
    """
    row = Environment.objects.filter(slug=slug).first()
    if row is None:
        raise EnvironmentNotFound(value=slug)
    return to_environment(row)


def get_environment_by_id(environment_id: UUID) -> EnvironmentRef:
    """The environment of that id.

    Raises:
        EnvironmentNotFound: there is none.
    """
    row = Environment.objects.filter(pk=environment_id).first()
    if row is None:
        raise EnvironmentNotFound(value=environment_id)
    return to_environment(row)


def list_environments() -> list[EnvironmentRef]:
    """Every environment in order of promotion."""
    return [to_environment(row) for row in Environment.objects.order_by("position")]


def to_environment(row: Environment) -> EnvironmentRef:
    """A table row as plain data."""
    return EnvironmentRef(id=row.pk, slug=row.slug, name=row.name, protected=row.protected)


def get_version(flow_id: UUID, number: int) -> PublishedVersion:
    """One published version.

    Raises:
        VersionNotFound: the flow or the version does not exist.
    """
    row = FlowVersion.objects.select_related("flow").filter(flow_id=flow_id, number=number).first()
    if row is None:
        raise VersionNotFound(f"The flow has no version {number}.", value=number)
    return to_version(row)


def get_version_by_id(version_id: UUID) -> PublishedVersion:
    """One published version by id.

    Raises:
        VersionNotFound: there is none.
    """
    row = FlowVersion.objects.select_related("flow").filter(pk=version_id).first()
    if row is None:
        raise VersionNotFound(value=version_id)
    return to_version(row)


def to_version(row: FlowVersion) -> PublishedVersion:
    """A table row (with its flow) as plain data."""
    return PublishedVersion(
        id=row.pk,
        flow_id=row.flow_id,
        flow_name=row.flow.name,
        number=row.number,
        definition=FlowDefinition.from_json(row.definition),
        content_hash=row.content_hash,
    )


def find_deployed_version(flow_id: UUID, environment_id: UUID) -> PublishedVersion | None:
    """The version that is active in an environment, or None."""
    row = (
        Deployment.objects.select_related("version__flow")
        .filter(flow_id=flow_id, environment_id=environment_id, status=DeploymentStatus.ACTIVE)
        .first()
    )
    return None if row is None else to_version(row.version)


def get_deployed_version(flow_id: UUID, environment: str) -> PublishedVersion:
    """The version that is active in an environment.

    Args:
        flow_id: the flow.
        environment: short name.

    Raises:
        FlowNotFound, EnvironmentNotFound: no such object.
        NotDeployed: nothing is deployed there.
    """
    found = find_deployed_version(flow_id, get_environment(environment).id)
    if found is None:
        flow = get_flow(flow_id)
        raise NotDeployed(f"{flow.name} is not deployed in {environment}.", field="environment", value=environment)
    return found


def find_binding(environment_id: UUID, slot: str) -> UUID | None:
    """Connection that a slot means in an environment: the bound one, else the connection of that short name."""
    bound = ConnectionBinding.objects.filter(environment_id=environment_id, slot=slot).values_list(
        "connection_id", flat=True
    )
    found = bound.first()
    if found is not None:
        return found
    named = find_connection_by_slug(slot)
    return None if named is None else named.id


def resolve_binding(environment_id: UUID, slot: str) -> UUID:
    """Connection that a slot means in an environment.

    Raises:
        BindingMissing: the slot is not bound, and no connection has that short name.
    """
    found = find_binding(environment_id, slot)
    if found is None:
        raise BindingMissing(f"The connection slot {slot!r} leads nowhere in this environment.", field=slot, value=slot)
    return found
