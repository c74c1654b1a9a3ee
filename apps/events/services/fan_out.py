"""The subscriber that turns each event into one delivery per subscription that wants it, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from apps.events.choices import SubscriptionStatus
from apps.events.contracts import EventRecord, Subscriber
from apps.events.events import SUBSCRIPTION_TESTED
from apps.events.models import EventSubscription
from apps.events.services.lanes import add_deliveries, lock_subscription
from apps.events.services.matching import Match, Matcher, list_matches
from apps.tenancy.contracts import TenantRef

TESTED = SUBSCRIPTION_TESTED.type
COLLECTING = (SubscriptionStatus.ACTIVE, SubscriptionStatus.PAUSED)


def matcher_of(row: EventSubscription) -> Matcher:
    """The deciding part of a subscription."""
    return Matcher(tuple(row.types), row.filter, row.ordered, row.key_expression)


class FanOut(Subscriber):
    """Queues deliveries in the transaction that moves its offset, so none is lost and none is queued twice."""

    name = "events.fan_out"
    types = ("*",)
    ordered = False
    in_batches = True

    def handle(self, tenant: TenantRef, event: EventRecord) -> None:
        """Queue one event's deliveries."""
        self.handle_batch(tenant, [event])

    def handle_batch(self, tenant: TenantRef, events: Sequence[EventRecord]) -> None:
        """Queue several events' deliveries, in order."""
        # Always in the same order, so that two visits cannot wait for each other's locks.
        wanting = EventSubscription.objects.filter(status__in=COLLECTING).order_by("id").values_list("id", flat=True)
        for subscription_id in list(wanting):
            _queue(subscription_id, events)


def _queue(subscription_id: UUID, events: Sequence[EventRecord]) -> None:
    subscription = lock_subscription(subscription_id)
    if subscription is None or subscription.status not in COLLECTING:
        return
    fresh = [event for event in events if (event.position or 0) > subscription.start_position]
    ordinary = [event for event in fresh if event.type != TESTED]
    matches = list_matches(matcher_of(subscription), ordinary)
    # A test is for the one subscription that it names, whatever types that one wants.
    tests = [event for event in fresh if event.type == TESTED and event.subject_id == str(subscription_id)]
    matches += [Match(event, "") for event in tests]
    add_deliveries(subscription, matches)
