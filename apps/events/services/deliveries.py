"""What a person decides about deliveries: send one again, revive dead letters, give them up."""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.events.choices import OPEN_DELIVERIES, DeliveryStatus
from apps.events.exceptions import DeliveryNotFound, DeliveryOpen, SubscriptionNotFound
from apps.events.models import Delivery, EventSubscription
from apps.events.selectors import to_record
from apps.events.services.fan_out import matcher_of
from apps.events.services.lanes import lock_subscription, promote_lanes
from apps.events.services.matching import list_matches

REDELIVER = "event:replay"
BATCH = 1000
# A lane that a dead letter blocks keeps its order; elsewhere the letter joins at the end of its lane.
_AGAIN = """
    UPDATE events_delivery SET status = 'pending', failures = 0, error = '', delivered_at = NULL, lane = %(lane)s,
        number = CASE WHEN %(keeps_place)s THEN number
                      ELSE nextval(pg_get_serial_sequence('events_delivery', 'number')) END,
        next_attempt_at = CASE WHEN %(lane)s = '' THEN clock_timestamp() END
    WHERE id = %(id)s
"""


@transaction.atomic
def redeliver(delivery_id: UUID, *, actor: Actor) -> Delivery:
    """Send one delivery again, whatever became of it; all attempts of the schedule anew.

    Raises:
        DeliveryNotFound: there is none, or its subscription is archived.
        DeliveryOpen: it is under way.
    """
    check_permission(actor, REDELIVER)
    found = Delivery.objects.filter(id=delivery_id).values_list("subscription_id", flat=True).first()
    subscription = lock_subscription(found) if found is not None else None
    if subscription is None:
        raise DeliveryNotFound(value=delivery_id)
    row: Delivery = Delivery.objects.select_related("event").select_for_update(of=("self",)).get(id=delivery_id)
    if row.status in OPEN_DELIVERIES:
        raise DeliveryOpen(value=delivery_id)
    _again(subscription, [row])
    audit_sink.record(
        actor=actor,
        action="events.delivery.redelivered",
        target_type="event_subscription",
        target_id=subscription.id,
        summary=f"Redelivered event {row.event_id} to {subscription.name}.",
        facts={"delivery": str(row.id), "event": str(row.event_id)},
    )
    row.refresh_from_db()
    return row


@transaction.atomic
def redrive_deliveries(subscription_id: UUID, *, ids: list[UUID] | None = None, actor: Actor) -> int:
    """Make dead letters of a subscription due again, oldest first, at most 1,000 a call.

    Args:
        subscription_id: the subscription.
        ids: only these; None for all.
        actor: needs `event:replay`.

    Returns:
        How many were revived.
    """
    subscription, rows = _dead(subscription_id, ids, actor)
    _again(subscription, rows)
    _note(subscription, "redriven", f"Redrove {len(rows)} dead letters of {subscription.name}.", rows, actor)
    return len(rows)


@transaction.atomic
def discard_deliveries(subscription_id: UUID, *, ids: list[UUID] | None = None, reason: str, actor: Actor) -> int:
    """Give dead letters up, at most 1,000 a call; what waited behind them goes on.

    Returns:
        How many were given up; their events stay in the log.
    """
    subscription, rows = _dead(subscription_id, ids, actor)
    Delivery.objects.filter(id__in=[row.id for row in rows]).update(status=DeliveryStatus.DISCARDED)
    promote_lanes(subscription, {row.lane for row in rows})
    summary = f"Gave up {len(rows)} dead letters of {subscription.name}: {reason}"
    _note(subscription, "discarded", summary[:500], rows, actor)
    return len(rows)


def _dead(subscription_id: UUID, ids: list[UUID] | None, actor: Actor) -> tuple[EventSubscription, list[Delivery]]:
    check_permission(actor, REDELIVER)
    subscription = lock_subscription(subscription_id)
    if subscription is None:
        raise SubscriptionNotFound(value=subscription_id)
    dead = Delivery.objects.filter(subscription=subscription, status=DeliveryStatus.DEAD)
    if ids is not None:
        dead = dead.filter(id__in=ids)
    chosen = dead.select_related("event").select_for_update(of=("self",)).order_by("number")
    return subscription, list(chosen[:BATCH])


def _again(subscription: EventSubscription, rows: list[Delivery]) -> None:
    lanes: set[str] = set()
    for row in rows:
        lane = row.lane
        if row.attempts == 0:
            # It died before its first attempt, because an expression failed: ask again, it may have been mended.
            matches = list_matches(matcher_of(subscription), [to_record(row.event)])
            lane = matches[0].lane if matches else ""
        keeps_place = subscription.block_on_dead and row.status == DeliveryStatus.DEAD
        with connection.cursor() as cursor:
            cursor.execute(_AGAIN, {"id": row.id, "lane": lane, "keeps_place": keeps_place})
        lanes.add(lane)
    promote_lanes(subscription, lanes)


def _note(subscription: EventSubscription, verb: str, summary: str, rows: list[Delivery], actor: Actor) -> None:
    audit_sink.record(
        actor=actor,
        action=f"events.deliveries.{verb}",
        target_type="event_subscription",
        target_id=subscription.id,
        summary=summary,
        facts={"count": len(rows), "events": [str(row.event_id) for row in rows[:100]]},
    )
