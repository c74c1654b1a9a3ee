"""Remove old events that every subscriber has passed."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Min

from apps.core.clock import now
from apps.events.choices import OPEN_DELIVERIES
from apps.events.models import (
    Delivery,
    Event,
    InboundMessage,
    InboundTally,
    ParkedEvent,
    Publication,
    StreamHead,
    Subscription,
)
from apps.events.registries import subscribers
from apps.events.services.delivery import settle_offset

log = structlog.get_logger(__name__)

BATCH_EVENTS = 2000


def purge_events(*, older_than: timedelta) -> int:
    """Delete the current tenant's events that are older, in batches; repeatable and safe to kill.

    An event stays while a registered subscriber has still to pass it, or while it or an earlier one is parked or on
    its way to a subscription: the log stays one piece without holes.

    Returns:
        How many events were deleted.
    """
    for subscriber in subscribers:
        settle_offset(subscriber)
    names = [subscriber.name for subscriber in subscribers]
    limit = StreamHead.objects.values_list("position", flat=True).get()
    offsets = dict(Subscription.objects.filter(name__in=names).values_list("name", "position"))
    limit = min([limit, *(offsets.get(name, 0) for name in names)])
    first_parked = ParkedEvent.objects.order_by("position").values_list("position", flat=True).first()
    if first_parked is not None:
        limit = min(limit, first_parked - 1)
    # An event that is still to be delivered stays, whatever its age; finished deliveries go with their events.
    opened = Delivery.objects.filter(status__in=OPEN_DELIVERIES).aggregate(first=Min("event__position"))["first"]
    if opened is not None:
        limit = min(limit, opened - 1)
    cutoff = now() - older_than
    # Their ids are what duplicates are known by, so they stay as long as the log.
    InboundMessage.objects.filter(received_at__lt=cutoff).delete()
    InboundTally.objects.filter(hour__lt=cutoff).delete()
    Publication.objects.filter(created_at__lt=cutoff).delete()
    removed = 0
    while batch := _purge_batch(limit, cutoff):
        removed += batch
    if removed:
        log.info("events_purged", count=removed)
    return removed


@transaction.atomic
def _purge_batch(limit: int, cutoff: object) -> int:
    head = StreamHead.objects.select_for_update().get()
    rows = Event.objects.filter(position__gt=head.purged_to, position__lte=limit).order_by("position")
    positions: list[int] = []
    for position, time in rows.values_list("position", "time")[:BATCH_EVENTS]:
        if time >= cutoff:
            break
        positions.append(position)
    if not positions:
        return 0
    Event.objects.filter(position__gt=head.purged_to, position__lte=positions[-1]).delete()
    StreamHead.objects.filter(id=head.id).update(purged_to=positions[-1])
    return len(positions)
