"""What tenants want delivered where: create, change, pause, rotate, test and archive subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.core.exceptions import Problem
from apps.core.ids import uuid7
from apps.core.services.hints import send_hint
from apps.events.choices import OPEN_DELIVERIES, DeliveryStatus, SubscriptionStatus
from apps.events.exceptions import SubscriptionInvalid, SubscriptionNotFound, SubscriptionStateConflict
from apps.events.models import Delivery, EventSubscription
from apps.events.registries import delivery_targets
from apps.events.selectors import get_head_position
from apps.events.services.fan_out import matcher_of
from apps.events.services.lanes import lock_subscription, ring
from apps.events.services.matching import check_matcher
from apps.events.services.outbox import publish_event
from apps.events.services.signatures import make_secret, to_key
from apps.events.services.signing_keys import SUBSCRIPTION, add_signing_key
from apps.tenancy.services.context import require_tenant
from apps.vault.services.secrets import delete_secrets

EDIT = "webhook:edit"
MAX_SUBSCRIPTIONS = 200
MAX_NAME_CHARS = 100
MAX_OVERLAP = timedelta(days=7)
CHANGEABLE = ("name", "description", "types", "filter", "ordered", "key_expression", "block_on_dead", "config")


@transaction.atomic
def create_subscription(
    name: str, *, target: str, config: Mapping[str, Any], secret: str | None = None, actor: Actor, **settings: Any
) -> tuple[EventSubscription, str | None]:
    """Start to deliver what happens from now on.

    Args:
        name: unique among the tenant's subscriptions.
        target: registered kind of target (`webhook`).
        config: the target's settings.
        secret: signing secret of the tenant's own; made when absent.
        actor: needs `webhook:edit`, and `secret:write` where the target is signed.
        settings: description, types (default all), filter, ordered, key_expression, block_on_dead.

    Returns:
        The row and its signing secret, which cannot be read again (None when the target has none).

    Raises:
        SubscriptionInvalid: with every problem.
    """
    check_permission(actor, EDIT)
    kind = delivery_targets.get(target)
    if EventSubscription.objects.exclude(status=SubscriptionStatus.ARCHIVED).count() >= MAX_SUBSCRIPTIONS:
        raise SubscriptionInvalid(f"A tenant has at most {MAX_SUBSCRIPTIONS} subscriptions.", field="name")
    row = EventSubscription(id=uuid7(), name=name, target=target, config=dict(config), types=["*"])
    row.start_position = get_head_position()
    for field, value in settings.items():
        if field not in CHANGEABLE:
            raise TypeError(f"A subscription has no setting {field!r}.")
        setattr(row, field, value)
    _check(row)
    shown = _add_key(row, secret, timedelta(0), actor) if kind.is_signed else None
    _save(row, new=True)
    _record(row, "created", f"Created subscription {row.name}", actor, _facts(row))
    return row, shown


@transaction.atomic
def update_subscription(subscription_id: UUID, *, actor: Actor, **changes: Any) -> EventSubscription:
    """Change a subscription; deliveries that are queued go on in the lanes they have.

    Args:
        subscription_id: the subscription.
        actor: needs `webhook:edit`.
        changes: any of name, description, types, filter, ordered, key_expression, block_on_dead, config.
    """
    check_permission(actor, EDIT)
    row = _locked(subscription_id)
    for field, value in changes.items():
        if field not in CHANGEABLE:
            raise TypeError(f"A subscription has no setting {field!r}.")
        setattr(row, field, value)
    _check(row)
    _save(row)
    _record(row, "updated", f"Changed subscription {row.name}", actor, {**_facts(row), "changed": sorted(changes)})
    return row


@transaction.atomic
def pause_subscription(subscription_id: UUID, *, reason: str = "", actor: Actor) -> EventSubscription:
    """Send nothing more for now; deliveries go on being collected, in order."""
    check_permission(actor, EDIT)
    row = _locked(subscription_id)
    if row.status != SubscriptionStatus.ACTIVE:
        raise SubscriptionStateConflict(f"The subscription is {row.status}, not active.")
    row.status, row.status_reason = SubscriptionStatus.PAUSED, reason[:200]
    _save(row)
    _record(row, "paused", f"Paused subscription {row.name}", actor, {"reason": row.status_reason})
    return row


@transaction.atomic
def resume_subscription(subscription_id: UUID, *, actor: Actor) -> EventSubscription:
    """Send again, also after it was disabled; its failures are forgotten, what was collected is due at once.

    What was published while it was disabled was not collected: replay from `disabled_position` brings it.
    """
    check_permission(actor, EDIT)
    row = _locked(subscription_id)
    if row.status == SubscriptionStatus.ACTIVE:
        raise SubscriptionStateConflict("The subscription is active already.")
    row.status, row.status_reason = SubscriptionStatus.ACTIVE, ""
    row.failures, row.failing_since, row.hold_until, row.last_error = 0, None, None, ""
    _save(row)
    ring()
    _record(row, "resumed", f"Resumed subscription {row.name}", actor)
    return row


@transaction.atomic
def archive_subscription(subscription_id: UUID, *, actor: Actor) -> EventSubscription:
    """End it: what is queued is given up, its secrets are deleted, its history stays."""
    check_permission(actor, EDIT)
    row = _locked(subscription_id)
    row.status, row.signing_keys = SubscriptionStatus.ARCHIVED, []
    row.secret_revision += 1
    if delivery_targets.get(row.target).is_signed:
        delete_secrets(SUBSCRIPTION, row.id, actor=actor)
    # What is open would hold the log back for ever.
    Delivery.objects.filter(subscription=row, status__in=OPEN_DELIVERIES).update(status=DeliveryStatus.DISCARDED)
    _save(row)
    _record(row, "archived", f"Archived subscription {row.name}", actor)
    return row


@transaction.atomic
def rotate_secret(
    subscription_id: UUID, *, overlap: timedelta = timedelta(days=1), secret: str | None = None, actor: Actor
) -> tuple[EventSubscription, str]:
    """Sign with a new secret; until the overlap ends every delivery carries both signatures.

    Args:
        subscription_id: the subscription.
        overlap: 0 (the old secret has leaked) to 7 days.
        secret: the tenant's own; made when absent.
        actor: needs `webhook:edit` and `secret:write`.

    Returns:
        The row and the new secret, which cannot be read again.
    """
    check_permission(actor, EDIT)
    row = _locked(subscription_id)
    if not delivery_targets.get(row.target).is_signed:
        raise SubscriptionInvalid(f"A {row.target} target is not signed.", field="target")
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise SubscriptionInvalid("Secrets overlap for 0 to 7 days.", field="overlap_s")
    shown = _add_key(row, secret, overlap, actor)
    _save(row)
    _record(row, "rotated", f"Rotated the signing secret of {row.name}", actor, {"overlap_s": overlap.total_seconds()})
    return row, shown


@transaction.atomic
def test_subscription(subscription_id: UUID, *, actor: Actor) -> UUID:
    """Publish a test event that only this subscription gets, whatever types it wants.

    Returns:
        Id of the event; its delivery follows within moments.
    """
    check_permission(actor, EDIT)
    row = _locked(subscription_id)
    if row.status != SubscriptionStatus.ACTIVE:
        raise SubscriptionStateConflict(f"The subscription is {row.status}; resume it first.")
    event_id = publish_event(
        "subscription.tested.v1",
        subject=f"subscription/{row.id}",
        data={"subscription": row.id, "name": row.name},
    )
    _record(row, "tested", f"Sent a test event to {row.name}", actor, {"event": str(event_id)})
    return event_id


def _add_key(row: EventSubscription, secret: str | None, overlap: timedelta, actor: Actor) -> str:
    value = secret or make_secret()
    to_key(value)
    add_signing_key(row, SUBSCRIPTION, value, overlap=overlap, actor=actor)
    return value


def _locked(subscription_id: UUID) -> EventSubscription:
    row = lock_subscription(subscription_id)
    if row is None:
        raise SubscriptionNotFound(value=subscription_id)
    return row


def _check(row: EventSubscription) -> None:
    problems: list[Problem] = []
    row.name = row.name.strip()
    if not row.name or len(row.name) > MAX_NAME_CHARS or not row.name.isprintable():
        problems.append(Problem("name", "events.name", f"A name has 1 to {MAX_NAME_CHARS} printable characters."))
    try:
        check_matcher(matcher_of(row))
    except SubscriptionInvalid as error:
        problems += error.problems
    try:
        row.config = delivery_targets.get(row.target).check_config(row.config)
    except SubscriptionInvalid as error:
        problems += error.problems
    if problems:
        raise SubscriptionInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _save(row: EventSubscription, *, new: bool = False) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=new)
    except IntegrityError as error:
        if "events_eventsubscription_name" not in str(error):
            raise
        problem = Problem("name", "events.name_taken", f"Another subscription is called {row.name}.")
        raise SubscriptionInvalid(problem.message, field="name", problems=[problem]) from None


def _facts(row: EventSubscription) -> dict[str, Any]:
    return {"types": row.types, "filter": row.filter, "target": row.target, "ordered": row.ordered}


def _record(row: EventSubscription, verb: str, summary: str, actor: Actor, facts: dict[str, Any] | None = None) -> None:
    audit_sink.record(
        actor=actor,
        action=f"events.subscription.{verb}",
        target_type="event_subscription",
        target_id=row.id,
        summary=f"{summary}.",
        facts=facts,
    )
    send_hint(require_tenant().id, "subscription", row.id, status=row.status)
