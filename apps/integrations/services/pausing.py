"""Pausing a flow: while it is paused, neither a person nor a trigger starts a run of it."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.core.services.hints import send_hint
from apps.events.services.outbox import publish_event
from apps.integrations.events import FLOW_PAUSED, FLOW_RESUMED, FlowPauseChanged
from apps.integrations.exceptions import FlowArchived, FlowNotFound
from apps.integrations.models import Flow
from apps.tenancy.services.context import require_tenant


@transaction.atomic
def pause_flow(flow_id: UUID, *, actor: Actor, reason: str = "") -> Flow:
    """Let nothing start a run of the flow. Runs that have begun go on. Pausing a paused flow changes its reason only.

    Args:
        flow_id: the flow.
        actor: needs `flow:deploy`.
        reason: for people, at most 200 characters.

    Raises:
        FlowNotFound, FlowArchived: see their messages.
    """
    flow = _lock(flow_id, actor)
    flow.paused_at, flow.pause_reason = flow.paused_at or now(), reason.strip()[:200]
    _record(flow, "paused", FLOW_PAUSED, f"Paused the flow {flow.name}.", actor)
    return flow


@transaction.atomic
def resume_flow(flow_id: UUID, *, actor: Actor) -> Flow:
    """Let runs of the flow start again. Resuming a flow that is not paused changes nothing.

    Raises:
        FlowNotFound, FlowArchived: see their messages.
    """
    flow = _lock(flow_id, actor)
    if flow.paused_at is not None:
        flow.paused_at, flow.pause_reason = None, ""
        _record(flow, "resumed", FLOW_RESUMED, f"Resumed the flow {flow.name}.", actor)
    return flow


def _lock(flow_id: UUID, actor: Actor) -> Flow:
    check_permission(actor, "flow:deploy")
    flow: Flow | None = Flow.objects.select_for_update().filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    if flow.archived_at is not None:
        raise FlowArchived(f"{flow.name} is archived.", value=flow.pk)
    return flow


def _record(flow: Flow, change: str, event: str, summary: str, actor: Actor) -> None:
    flow.save(update_fields=["paused_at", "pause_reason", "updated_at"])
    record_audit(
        actor=actor,
        action=f"flow.{change}",
        target_type="flow",
        target_id=flow.pk,
        summary=summary,
        facts={"reason": flow.pause_reason},
    )
    publish_event(
        event,
        subject=f"flow/{flow.pk}",
        key=str(flow.pk),
        data=FlowPauseChanged(flow_id=flow.pk, name=flow.name, reason=flow.pause_reason, by=actor.name),
    )
    send_hint(require_tenant().id, "flow", flow.pk, change=change)
