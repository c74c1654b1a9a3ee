"""Order of deliveries: in each lane the first open delivery is due, the others wait behind it.

Whoever adds to a lane or settles its first delivery holds the subscription's row lock until the commit, so that none is
left waiting behind nothing. Times are the database's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import connection

from apps.core.ids import uuid7
from apps.events.choices import DeliveryStatus, SubscriptionStatus
from apps.events.models import EventSubscription
from apps.events.services.matching import Match
from apps.tenancy.services.context import require_tenant

NOTIFY_CHANNEL = "portal_deliveries"
_INSERT = """
    INSERT INTO events_delivery (id, subscription_id, event_id, replay_id, lane, status, attempts, failures,
                                 next_attempt_at, error)
    SELECT fresh.id, %(subscription)s, fresh.event, %(replay)s, fresh.lane, fresh.status, 0, 0,
           CASE WHEN fresh.lane = '' AND fresh.status = 'pending' THEN clock_timestamp() END, fresh.error
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS fresh(place int, id uuid, event uuid, lane text, status text,
                                                          error text)
    ORDER BY fresh.place
    ON CONFLICT (subscription_id, event_id, replay_id) DO NOTHING
"""
_PROMOTE = """
    UPDATE events_delivery AS delivery SET next_attempt_at = clock_timestamp()
    FROM (
        SELECT DISTINCT ON (lane) id, status
        FROM events_delivery
        WHERE subscription_id = %(subscription)s AND lane = ANY(%(lanes)s)
          AND status IN ('pending', 'delivering', 'failed', %(blocking)s)
        ORDER BY lane, number
    ) AS head
    WHERE delivery.id = head.id AND head.status = 'pending' AND delivery.next_attempt_at IS NULL
"""


def lock_subscription(subscription_id: UUID) -> EventSubscription | None:
    """The subscription's row, locked against everybody else who touches its lanes; None when it is gone."""
    found: EventSubscription | None = (
        EventSubscription.objects.select_for_update(no_key=True)
        .exclude(status=SubscriptionStatus.ARCHIVED)
        .filter(id=subscription_id)
        .first()
    )
    return found


def add_deliveries(subscription: EventSubscription, matches: Sequence[Match], *, replay_id: UUID | None = None) -> int:
    """Queue matched events, in their order; one that is queued already stays as it is. Needs the subscription's lock.

    Returns:
        How many were new.
    """
    if not matches:
        return 0
    rows = [
        {
            "place": place,
            "id": str(uuid7()),
            "event": str(match.event.id),
            "lane": match.lane,
            "status": DeliveryStatus.DEAD if match.fault else DeliveryStatus.PENDING,
            "error": match.fault,
        }
        for place, match in enumerate(matches)
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, {"subscription": subscription.id, "replay": replay_id, "rows": json.dumps(rows)})
        count: int = cursor.rowcount
    promote_lanes(subscription, {match.lane for match in matches})
    return count


def promote_lanes(subscription: EventSubscription, lanes: Iterable[str]) -> None:
    """Make the first open delivery of each lane due, and ring for the dispatcher at commit. May be repeated."""
    named = sorted({lane for lane in lanes if lane})
    with connection.cursor() as cursor:
        if named:
            blocking = DeliveryStatus.DEAD if subscription.block_on_dead else DeliveryStatus.PENDING
            cursor.execute(_PROMOTE, {"subscription": subscription.id, "lanes": named, "blocking": blocking})
    ring()


def ring() -> None:
    """Tell the dispatchers, at commit, that the current tenant has something due."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [NOTIFY_CHANNEL, str(require_tenant().id)])
