"""Reads of the integrations app."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from psycopg.types.json import Jsonb

from apps.connectors.selectors import find_connection, find_connection_by_slug
from apps.events.contracts import Consumer
from apps.integrations.choices import DeploymentStatus
from apps.integrations.contracts import (
    Definition,
    EnvironmentRef,
    FlowRef,
    PublishedVersion,
    Startable,
    read_definition,
)
from apps.integrations.exceptions import (
    BindingMissing,
    EnvironmentNotFound,
    FlowNotFound,
    NotDeployed,
    VersionNotFound,
)
from apps.integrations.models import ConnectionBinding, Deployment, Environment, Flow, FlowVersion, Variable
from apps.tenancy.models import check_tenant_entered

DEFINITIONS_KEPT = 256
_definitions: dict[UUID, Definition] = {}


def get_flow(flow_id: UUID) -> FlowRef:
    """Name and state of a flow.

    Raises:
        FlowNotFound: there is none in this tenant.
    """
    return to_flow(get_flow_row(flow_id))


def get_flow_row(flow_id: UUID) -> Flow:
    """A flow as a table row, archived or not.

    Raises:
        FlowNotFound: there is none in this tenant.
    """
    flow = Flow.objects.filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    return flow


def get_flow_by_slug(slug: str) -> FlowRef:
    """A flow in use by its short name.

    Raises:
        FlowNotFound: there is none.
    """
    flow = Flow.objects.filter(slug=slug, archived_at__isnull=True).first()
    if flow is None:
        raise FlowNotFound(f"There is no flow of the short name {slug!r}.", value=slug)
    return to_flow(flow)


def filter_flows(*, search: str = "", archived: bool = False) -> QuerySet[Flow]:
    """Flows within limits, newest first."""
    flows = Flow.objects.filter(archived_at__isnull=not archived)
    if search.strip():
        flows = flows.filter(name__icontains=search.strip())
    return flows.order_by("-id")


def list_versions(flow_id: UUID) -> QuerySet[FlowVersion]:
    """Versions of a flow, newest first, without their definitions."""
    return FlowVersion.objects.filter(flow_id=flow_id).defer("definition").order_by("-id")


def list_deployments(flow_id: UUID) -> QuerySet[Deployment]:
    """Deployments of a flow, newest first."""
    rows = Deployment.objects.filter(flow_id=flow_id).select_related("version", "environment")
    return rows.defer("version__definition").order_by("-id")


def get_version_row(flow_id: UUID, number: int) -> FlowVersion:
    """One version as a table row.

    Raises:
        VersionNotFound: the flow or the version does not exist.
    """
    row = FlowVersion.objects.select_related("flow").filter(flow_id=flow_id, number=number).first()
    if row is None:
        raise VersionNotFound(f"The flow has no version {number}.", value=number)
    return row


def list_environment_rows() -> list[Environment]:
    """Every environment as a table row, in order of promotion."""
    return list(Environment.objects.order_by("position"))


def get_environment_row(slug: str) -> Environment:
    """An environment as a table row.

    Raises:
        EnvironmentNotFound: there is none.
    """
    row = Environment.objects.filter(slug=slug).first()
    if row is None:
        raise EnvironmentNotFound(value=slug)
    return row


def list_bindings(environment_id: UUID) -> dict[str, UUID]:
    """{slot: connection id} of an environment."""
    return dict(ConnectionBinding.objects.filter(environment_id=environment_id).values_list("slot", "connection_id"))


def list_variables(environment_id: UUID) -> list[Variable]:
    """Variables of an environment, by name; secret ones have no value here."""
    return list(Variable.objects.filter(environment_id=environment_id).order_by("name"))


def to_flow(flow: Flow) -> FlowRef:
    """A table row as plain data."""
    return FlowRef(
        id=flow.pk, name=flow.name, slug=flow.slug, kind=flow.kind, archived=flow.archived_at is not None,
        draft=flow.draft, draft_revision=flow.draft_revision, paused=flow.paused_at is not None,
        pause_reason=flow.pause_reason,
    )  # fmt: skip


def get_environment(slug: str) -> EnvironmentRef:
    """The environment of that short name.

    Raises:
        EnvironmentNotFound: there is none.
    """
    return to_environment(get_environment_row(slug))


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
    return to_version(get_version_row(flow_id, number))


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
    """A table row (with its flow) as plain data; a version never changes, so it is parsed once a process."""
    return PublishedVersion(
        id=row.pk,
        flow_id=row.flow_id,
        flow_name=row.flow.name,
        number=row.number,
        definition=_definition_of(row),
        content_hash=row.content_hash,
    )


def _definition_of(row: FlowVersion) -> Definition:
    found = _definitions.get(row.pk)
    if found is None:
        found = read_definition(row.definition)
        if len(_definitions) >= DEFINITIONS_KEPT:
            _definitions.clear()
        _definitions[row.pk] = found
    return found


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


def find_startable(flow_id: UUID, environment: str) -> Startable | None:
    """What a run would be started with, asked for in one statement; None when something stands against it."""
    check_tenant_entered(Flow)
    with connection.cursor() as cursor:
        cursor.execute(
            _STARTABLE, {"flow": flow_id, "environment": environment, "active": DeploymentStatus.ACTIVE.value}
        )
        row = cursor.fetchone()
    if row is None:
        return None
    name, environment_id, version_id, number = row
    definition = _definitions.get(version_id)
    if definition is None:
        definition = get_version_by_id(version_id).definition
    return Startable(name, environment_id, version_id, number, definition)


_STARTABLE = """
SELECT flow.name, environment.id, version.id, version.number
FROM integrations_flow flow
JOIN integrations_environment environment ON environment.slug = %(environment)s
JOIN integrations_deployment deployment ON deployment.flow_id = flow.id
  AND deployment.environment_id = environment.id AND deployment.status = %(active)s
JOIN integrations_flow_version version ON version.id = deployment.version_id
WHERE flow.id = %(flow)s AND flow.archived_at IS NULL AND flow.paused_at IS NULL
"""


def find_binding(environment_id: UUID, slot: str) -> UUID | None:
    """Connection in use that a slot means in an environment: the bound one, else the connection of that short name."""
    bound = ConnectionBinding.objects.filter(environment_id=environment_id, slot=slot).first()
    if bound is not None:
        found = find_connection(bound.connection_id)
    else:
        found = find_connection_by_slug(slot)
    return None if found is None or found.archived_at is not None else found.id


def resolve_binding(environment_id: UUID, slot: str) -> UUID:
    """Connection that a slot means in an environment.

    Raises:
        BindingMissing: the slot is not bound, and no connection has that short name.
    """
    found = find_binding(environment_id, slot)
    if found is None:
        raise BindingMissing(f"The connection slot {slot!r} leads nowhere in this environment.", field=slot, value=slot)
    return found


def list_event_users(type_: str) -> list[Consumer]:
    """Processes whose draft or deployed versions wait for an event type or publish it, by name.

    Args:
        type_: full event type.
    """
    return [
        Consumer("flow", row.id, row.name) for row in Flow.objects.raw(_EVENT_USERS, {"used": Jsonb({"type": type_})})
    ]


_EVENT_USERS = """
SELECT f.id, f.name FROM integrations_flow f
WHERE f.kind = 'process' AND f.archived_at IS NULL AND (
  jsonb_path_exists(f.draft, '$.** ? (@.event == $type)', %(used)s)
  OR EXISTS (
    SELECT FROM integrations_deployment d JOIN integrations_flow_version v ON v.id = d.version_id
    WHERE d.flow_id = f.id AND d.status = 'active'
    AND jsonb_path_exists(v.definition, '$.** ? (@.event == $type)', %(used)s)))
ORDER BY f.name, f.id
"""
