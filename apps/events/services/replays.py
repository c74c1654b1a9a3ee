"""Deliver a range of the log again to one subscription: look first, then do what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.events.contracts import EventRecord
from apps.events.exceptions import ReplayChanged, ReplayTooLarge, SubscriptionNotFound
from apps.events.models import Event, EventSubscription, Replay
from apps.events.selectors import list_range, to_record
from apps.events.services.fan_out import TESTED, matcher_of
from apps.events.services.lanes import add_deliveries, lock_subscription
from apps.events.services.matching import Match, Matcher, list_matches

REPLAY = "event:replay"
MAX_EVENTS = 50_000
CHUNK = 1000
SAMPLE = 5


@dataclass(frozen=True)
class ReplayRange:
    """Which part of the log; every given bound must hold.

    Attributes:
        first_position, last_position: numbers of the log, both included.
        since, until: times; `until` is excluded.
        types: patterns that narrow the subscription's own; empty for all of them.
    """

    first_position: int | None = None
    last_position: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplayPreview:
    """What a replay would deliver.

    Attributes:
        count: events that the subscription wants.
        scanned: events in the range.
        first_position, last_position: the range in numbers of the log; a replay of exactly these is repeatable.
        sample: the first few wanted events.
    """

    count: int
    scanned: int
    first_position: int
    last_position: int
    sample: list[EventRecord]


def preview_replay(subscription_id: UUID, wanted: ReplayRange, *, actor: Actor) -> ReplayPreview:
    """Count and sample what a replay would deliver; changes nothing.

    Raises:
        SubscriptionNotFound, ReplayTooLarge.
    """
    check_permission(actor, REPLAY)
    row = EventSubscription.objects.exclude(status="archived").filter(id=subscription_id).first()
    if row is None:
        raise SubscriptionNotFound(value=subscription_id)
    first, last, scanned = _bounds(wanted)
    count = 0
    sample: list[EventRecord] = []
    for matches in _chunks(row, wanted, first, last):
        sample += [match.event for match in matches[: SAMPLE - len(sample)]]
        count += len(matches)
    return ReplayPreview(count, scanned, first, last, sample)


@transaction.atomic
def start_replay(subscription_id: UUID, wanted: ReplayRange, *, expected_count: int, actor: Actor) -> Replay:
    """Queue the range's events once more, behind what is under way in their lanes.

    Args:
        subscription_id: the subscription.
        wanted: as previewed, best by positions.
        expected_count: the preview's count; another one means that the range is not what was looked at.
        actor: needs `event:replay`.

    Raises:
        SubscriptionNotFound, ReplayTooLarge, ReplayChanged.
    """
    check_permission(actor, REPLAY)
    row = lock_subscription(subscription_id)
    if row is None:
        raise SubscriptionNotFound(value=subscription_id)
    first, last, _scanned = _bounds(wanted)
    replay: Replay = Replay.objects.create(
        subscription=row,
        first_position=first,
        last_position=last,
        types=list(wanted.types),
        count=expected_count,
        requested_by=actor.name[:300],
    )
    count = sum(add_deliveries(row, matches, replay_id=replay.id) for matches in _chunks(row, wanted, first, last))
    if count != expected_count:
        raise ReplayChanged(f"The range holds {count} events, not {expected_count}.", count=count)
    audit_sink.record(
        actor=actor,
        action="events.replay.started",
        target_type="event_subscription",
        target_id=row.id,
        summary=f"Replayed {count} events ({first} to {last}) to {row.name}.",
        facts={"replay": str(replay.id), "count": count, "first": first, "last": last, "types": list(wanted.types)},
    )
    return replay


def _bounds(wanted: ReplayRange) -> tuple[int, int, int]:
    """First and last position, and how many events lie between; (1, 0, 0) when there is none."""
    events = Event.objects.filter(position__isnull=False)
    if wanted.first_position is not None:
        events = events.filter(position__gte=wanted.first_position)
    if wanted.last_position is not None:
        events = events.filter(position__lte=wanted.last_position)
    if wanted.since is not None:
        events = events.filter(time__gte=wanted.since)
    if wanted.until is not None:
        events = events.filter(time__lt=wanted.until)
    first = events.order_by("position").values_list("position", flat=True).first()
    last = events.order_by("-position").values_list("position", flat=True).first()
    if first is None or last is None:
        return 1, 0, 0
    scanned = last - first + 1
    if scanned > MAX_EVENTS:
        raise ReplayTooLarge(f"The range holds {scanned} events; one replay looks at {MAX_EVENTS}.", scanned=scanned)
    return first, last, scanned


def _chunks(row: EventSubscription, wanted: ReplayRange, first: int, last: int) -> Iterator[list[Match]]:
    narrow = Matcher(wanted.types or ("*",))
    position = first - 1
    while position < last:
        events = list_range(position, limit=CHUNK, up_to=last)
        if not events:
            return
        position = events[-1].position or last
        records = [
            to_record(event)
            for event in events
            if event.type != TESTED
            and narrow.wants_type(event.type)
            and (wanted.since is None or event.time >= wanted.since)
            and (wanted.until is None or event.time < wanted.until)
        ]
        yield list_matches(matcher_of(row), records)
