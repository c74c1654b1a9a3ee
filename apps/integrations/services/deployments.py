"""Deployments: which version of a flow runs where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.core.exceptions import Problem
from apps.core.services.hints import send_hint
from apps.events.services.outbox import publish_event
from apps.integrations.choices import DeploymentStatus
from apps.integrations.contracts import DeploymentRequest, EnvironmentRef, PublishedVersion
from apps.integrations.events import FLOW_DEPLOYED, FLOW_RETIRED, FlowDeployed, FlowRetired
from apps.integrations.exceptions import DeploymentRefused, FlowArchived, FlowNotFound, NotDeployed
from apps.integrations.models import Deployment, Flow
from apps.integrations.registries import deployment_checks
from apps.integrations.selectors import get_environment, get_version
from apps.tenancy.services.context import require_tenant


@dataclass(frozen=True)
class DeployResult:
    """What deploying did.

    Attributes:
        deployment: the active deployment, with version and environment.
        changed: False when the version was active there already.
        warnings: findings of the deployment checks that do not refuse it.
        message: one sentence for people.
    """

    deployment: Deployment
    changed: bool
    warnings: tuple[Problem, ...]
    message: str


@transaction.atomic
def deploy_version(flow_id: UUID, *, environment: str, version: int, actor: Actor, note: str = "") -> DeployResult:
    """Make a version the active one in an environment. Rolling back is deploying an older version.

    Deploying the version that is active already changes nothing. Runs in progress keep the version they started with.

    Args:
        flow_id: the flow.
        environment: short name.
        version: number of a published version.
        actor: needs `flow:deploy`.
        note: why, for people.

    Raises:
        FlowNotFound, FlowArchived, EnvironmentNotFound, VersionNotFound: see their messages.
        DeploymentRefused: a deployment check found errors; one problem each.
    """
    check_permission(actor, "flow:deploy")
    flow = Flow.objects.select_for_update().filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    if flow.archived_at is not None:
        raise FlowArchived(f"{flow.name} is archived.", value=flow.pk)
    place = get_environment(environment)
    published = get_version(flow_id, version)
    active = (
        Deployment.objects.select_related("version", "environment")
        .filter(flow=flow, environment_id=place.id, status=DeploymentStatus.ACTIVE)
        .first()
    )
    if active is not None and active.version_id == published.id:
        return DeployResult(active, False, (), f"Version {version} is active in {place.name} already.")
    request = DeploymentRequest(
        flow_id=flow.pk,
        version=published,
        environment=place,
        actor_id=actor.id,
        active_version=None if active is None else active.version.number,
        requested_at=now(),
    )
    warnings = _ensure_allowed(request)
    at = now()
    if active is not None:
        active.status, active.retired_at = DeploymentStatus.RETIRED, at
        active.save(update_fields=["status", "retired_at", "updated_at"])
    row = Deployment.objects.create(
        flow=flow,
        version_id=published.id,
        environment_id=place.id,
        note=note.strip(),
        deployed_by=actor.id,
        deployed_by_name=actor.name,
        deployed_at=at,
    )
    _tell(flow, published, place, request.active_version, row.note, warnings, actor=actor)
    row = Deployment.objects.select_related("version", "environment").get(pk=row.pk)
    back = request.active_version is not None and request.active_version > version
    verb = "Rolled back to" if back else "Deployed"
    return DeployResult(row, True, warnings, f"{verb} version {version} in {place.name}.")


@transaction.atomic
def retire_deployment(flow_id: UUID, *, environment: str, actor: Actor) -> Deployment:
    """Take a flow out of an environment: nothing can be started there any more. The record stays.

    Args:
        flow_id: the flow.
        environment: short name.
        actor: needs `flow:deploy`.

    Raises:
        FlowNotFound, EnvironmentNotFound: see their messages.
        NotDeployed: nothing is active there.
    """
    check_permission(actor, "flow:deploy")
    flow = Flow.objects.select_for_update().filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    place = get_environment(environment)
    row: Deployment | None = (
        Deployment.objects.select_related("version", "environment")
        .filter(flow=flow, environment_id=place.id, status=DeploymentStatus.ACTIVE)
        .first()
    )
    if row is None:
        raise NotDeployed(f"{flow.name} is not deployed in {place.name}.", field="environment", value=environment)
    row.status, row.retired_at = DeploymentStatus.RETIRED, now()
    row.save(update_fields=["status", "retired_at", "updated_at"])
    facts = {"environment": place.slug, "version": row.version.number}
    record_audit(
        actor=actor,
        action="flow.retired",
        target_type="flow",
        target_id=flow.pk,
        summary=f"Took {flow.name} out of {place.name}.",
        facts=facts,
    )
    publish_event(
        FLOW_RETIRED,
        subject=f"flow/{flow.pk}",
        key=str(flow.pk),
        data=FlowRetired(
            flow_id=flow.pk, name=flow.name, version=row.version.number, environment=place.slug, by=actor.name
        ),
    )
    send_hint(require_tenant().id, "flow", flow.pk, change="retired", environment=place.slug)
    return row


def _ensure_allowed(request: DeploymentRequest) -> tuple[Problem, ...]:
    found = [problem for check in deployment_checks.all() for problem in check.check(request)]
    errors = [problem for problem in found if problem.severity == "error"]
    if errors:
        raise DeploymentRefused(
            f"Version {request.version.number} cannot be deployed to {request.environment.name}: {errors[0].message}",
            field="environment",
            problems=found,
            remedy=errors[0].hint,
        )
    return tuple(found)


def _tell(
    flow: Flow,
    published: PublishedVersion,
    place: EnvironmentRef,
    replaced: int | None,
    note: str,
    warnings: tuple[Problem, ...],
    *,
    actor: Actor,
) -> None:
    facts: dict[str, Any] = {
        "environment": place.slug,
        "version": published.number,
        "replaced_version": replaced,
        "content_hash": published.content_hash,
    }
    record_audit(
        actor=actor,
        action="flow.deployed",
        target_type="flow",
        target_id=flow.pk,
        summary=f"Deployed version {published.number} of {flow.name} to {place.name}.",
        facts={**facts, "note": note, "warnings": [problem.to_json() for problem in warnings]},
    )
    publish_event(
        FLOW_DEPLOYED,
        subject=f"flow/{flow.pk}",
        key=str(flow.pk),
        data=FlowDeployed(
            flow_id=flow.pk,
            name=flow.name,
            version=published.number,
            environment=place.slug,
            content_hash=published.content_hash,
            by=actor.name,
            replaced_version=replaced,
        ),
    )
    send_hint(require_tenant().id, "flow", flow.pk, change="deployed", environment=place.slug, version=published.number)
