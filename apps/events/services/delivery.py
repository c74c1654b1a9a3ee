"""Hand numbered events to one subscriber of one tenant: in order per key, at least once, one visitor at a time.

The subscription row is locked for the visit, its new offset and what the subscriber writes commit together. See the
README for the state machine of a parked event.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import timedelta

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction

from apps.core.clock import now
from apps.core.exceptions import TransientError
from apps.events.choices import ParkedStatus
from apps.events.contracts import DeliveryResult, EventRecord, Subscriber
from apps.events.models import Event, ParkedEvent, Subscription
from apps.events.registries import event_types
from apps.events.selectors import get_head_position, list_range, to_record
from apps.tenancy.services.context import require_tenant

log = structlog.get_logger(__name__)

BATCH_EVENTS = 200
VISIT_S = 0.25
PARKED_BATCH = 50
# A frozen relay must not hold a subscription for ever: the server ends a transaction that idles this long.
IDLE_LIMIT = "60s"


def wanted_types(subscriber: Subscriber) -> list[str] | None:
    """Registered types that the subscriber wants; None when it wants all."""
    if "*" in subscriber.types:
        return None
    return [event_type.type for event_type in event_types if subscriber.wants(event_type.type)]


def deliver_events(subscriber: Subscriber, *, limit: int = BATCH_EVENTS, visit_s: float = VISIT_S) -> DeliveryResult:
    """One visit at a subscriber in the current tenant: first what is due again, then what is new.

    Args:
        subscriber: whom to deliver to.
        limit: most new events.
        visit_s: seconds after which the visit ends early, so that one tenant's backlog delays nobody.

    Returns:
        What was done, and when to come again.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [IDLE_LIMIT])
        subscription = _lock_subscription(subscriber)
        if subscription is None:
            return DeliveryResult(busy=True)
        if subscription.retry_at is not None:
            wait_s = (subscription.retry_at - now()).total_seconds()
            if wait_s > 0:
                return DeliveryResult(retry_in_s=wait_s)
        return _Visit(subscriber, subscription, limit, visit_s).run()


def settle_offset(subscriber: Subscriber) -> None:
    """Move an idle subscriber's offset to the head when nothing for it lies between, so that retention may pass."""
    with transaction.atomic():
        subscription = _lock_subscription(subscriber)
        if subscription is None:
            return
        head = get_head_position()
        if not list_range(subscription.position, limit=1, types=wanted_types(subscriber), up_to=head):
            Subscription.objects.filter(id=subscription.id).update(position=head)


def _lock_subscription(subscriber: Subscriber) -> Subscription | None:
    locked = Subscription.objects.select_for_update(skip_locked=True).filter(name=subscriber.name)
    subscription: Subscription | None = locked.first()
    if subscription is None and not Subscription.objects.filter(name=subscriber.name).exists():
        start = 0 if subscriber.from_beginning else get_head_position()
        Subscription.objects.bulk_create([Subscription(name=subscriber.name, position=start)], ignore_conflicts=True)
        subscription = locked.first()
    return subscription


class _SubscriberAway(Exception):
    """The subscriber's surroundings are at fault, not the event."""


class _Visit:
    """The work of one visit, inside its transaction."""

    def __init__(self, subscriber: Subscriber, subscription: Subscription, limit: int, visit_s: float) -> None:
        self.subscriber = subscriber
        self.subscription = subscription
        self.tenant = require_tenant()
        self.limit = limit
        self.ends_at = time.monotonic() + visit_s
        self.delivered = 0
        self.parked = 0
        self.lagging = False
        self.has_parked = ParkedEvent.objects.filter(subscription=subscription).exists()

    def run(self) -> DeliveryResult:
        """Due events, then new ones; then the offset and the state of the subscription."""
        former = (self.subscription.position, self.subscription.failures)
        try:
            self._visit_parked()
            self._visit_fresh()
        except _SubscriberAway as away:
            self._back_off(away)
        else:
            self.subscription.failures = 0
            self.subscription.retry_at = None
        if self.delivered or (self.subscription.position, self.subscription.failures) != former:
            self.subscription.delivered += self.delivered
            self.subscription.save()
        return DeliveryResult(self.delivered, self.parked, self.lagging, self._retry_in_s())

    def _is_over(self) -> bool:
        return time.monotonic() >= self.ends_at

    def _visit_fresh(self) -> None:
        head = get_head_position()
        events = list_range(
            self.subscription.position, limit=self.limit, types=wanted_types(self.subscriber), up_to=head
        )
        blocked = self._blocked_keys({event.key for event in events})
        if self.subscriber.in_batches and events and not blocked and self._attempt_batch(events):
            self.subscription.position = events[-1].position or self.subscription.position
            events_left: list[Event] = []
        else:
            events_left = events
        for event in events_left:
            if self._is_over():
                self.lagging = True
                return
            error = None if event.key in blocked else self._attempt(to_record(event))
            if error is not None or event.key in blocked:
                self._park(event, error)
                if self.subscriber.ordered:
                    blocked.add(event.key)
            self.subscription.position = event.position or self.subscription.position
        self.lagging = len(events) == self.limit
        if not self.lagging:
            self.subscription.position = max(self.subscription.position, head)

    def _visit_parked(self) -> None:
        if not self.has_parked:
            return
        due = ParkedEvent.objects.filter(
            subscription=self.subscription, status=ParkedStatus.WAITING, retry_at__lte=now()
        ).select_related("event")
        handled: set[object] = set()
        for first in due.order_by("retry_at", "position")[:PARKED_BATCH]:
            parked: ParkedEvent | None = None if first.id in handled else first
            while parked is not None and not self._is_over():
                handled.add(parked.id)
                error = self._attempt(to_record(parked.event))
                if error is not None:
                    self._note_failure(parked, error)
                    parked.save()
                    break
                parked.delete()
                parked = self._next_of_key(parked.key) if self.subscriber.ordered else None
            if parked is not None and parked.status == ParkedStatus.WAITING and parked.retry_at is None:
                # Its turn has come but the visit is over: due at once.
                ParkedEvent.objects.filter(id=parked.id).update(retry_at=now())
            if self._is_over():
                self.lagging = True
                return

    def _next_of_key(self, key: str) -> ParkedEvent | None:
        behind = ParkedEvent.objects.filter(subscription=self.subscription, key=key).select_related("event")
        following = behind.order_by("position").first()
        return following if following is not None and following.status == ParkedStatus.WAITING else None

    def _blocked_keys(self, keys: set[str]) -> set[str]:
        if not keys or not self.subscriber.ordered or not self.has_parked:
            return set()
        rows = ParkedEvent.objects.filter(subscription=self.subscription, key__in=keys)
        return set(rows.values_list("key", flat=True))

    def _attempt(self, event: EventRecord) -> Exception | None:
        """None when handled, else the event's fault. Raises `_SubscriberAway` when it is not the event's."""
        try:
            with transaction.atomic() if self.subscriber.writes else nullcontext():
                self.subscriber.handle(self.tenant, event)
        except InterfaceError:
            raise
        except (TransientError, OperationalError) as error:
            if not connection.is_usable():
                raise
            raise _SubscriberAway(f"{type(error).__name__}: {error}") from error
        except Exception as error:  # noqa: BLE001 - whatever a subscriber raises is this event's failure
            log.warning(
                "event_failed",
                subscriber=self.subscriber.name,
                event_id=str(event.id),
                event_type=event.type,
                error=f"{type(error).__name__}: {error}",
            )
            return error
        self.delivered += 1
        return None

    def _attempt_batch(self, events: list[Event]) -> bool:
        """Whether all were handled together; False leaves no trace, and each is attempted alone."""
        try:
            with transaction.atomic():
                self.subscriber.handle_batch(self.tenant, [to_record(event) for event in events])
        except InterfaceError:
            raise
        except (TransientError, OperationalError) as error:
            if not connection.is_usable():
                raise
            raise _SubscriberAway(f"{type(error).__name__}: {error}") from error
        except Exception as error:  # noqa: BLE001 - which of them is at fault shows when each is attempted alone
            log.warning("event_batch_failed", subscriber=self.subscriber.name, error=f"{type(error).__name__}: {error}")
            return False
        self.delivered += len(events)
        return True

    def _park(self, event: Event, error: Exception | None) -> None:
        """Put the event aside: with its failure, or without one behind an earlier event of its key."""
        parked = ParkedEvent(subscription=self.subscription, event=event, position=event.position or 0, key=event.key)
        if error is not None:
            self._note_failure(parked, error)
        parked.save(force_insert=True)
        self.has_parked = True
        self.parked += 1

    def _note_failure(self, parked: ParkedEvent, error: Exception) -> None:
        parked.attempts += 1
        parked.error = f"{type(error).__name__}: {error}"[:500]
        if parked.attempts >= self.subscriber.retry.attempts:
            parked.status = ParkedStatus.DEAD
            parked.retry_at = None
            log.error(
                "event_dead", subscriber=self.subscriber.name, event_id=str(parked.event_id), attempts=parked.attempts
            )
        else:
            parked.retry_at = now() + timedelta(seconds=self.subscriber.retry.delay_s(parked.attempts))

    def _back_off(self, away: _SubscriberAway) -> None:
        self.subscription.failures += 1
        self.subscription.last_error = str(away)[:500]
        delay_s = self.subscriber.retry.delay_s(self.subscription.failures)
        self.subscription.retry_at = now() + timedelta(seconds=delay_s)
        log.warning(
            "subscriber_backs_off", subscriber=self.subscriber.name, retry_in_s=round(delay_s, 1), error=str(away)
        )

    def _retry_in_s(self) -> float | None:
        if self.subscription.retry_at is not None:
            return max(0.0, (self.subscription.retry_at - now()).total_seconds())
        if not self.has_parked:
            return None
        waiting = ParkedEvent.objects.filter(
            subscription=self.subscription, status=ParkedStatus.WAITING, retry_at__isnull=False
        )
        first = waiting.order_by("retry_at").values_list("retry_at", flat=True).first()
        return None if first is None else max(0.0, (first - now()).total_seconds())
