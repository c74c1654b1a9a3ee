"""Reads of the event log."""

from __future__ import annotations

from django.db.models import QuerySet

from apps.events.contracts import EventRecord
from apps.events.models import Event, ParkedEvent, StreamHead, Subscription


def to_record(event: Event) -> EventRecord:
    """The row as plain data."""
    return EventRecord(
        id=event.id,
        position=event.position,
        type=event.type,
        source=event.source,
        subject=event.subject,
        time=event.time,
        key=event.key,
        data=event.data,
    )


def list_events() -> QuerySet[Event]:
    """Events of the current tenant, newest first."""
    return Event.objects.order_by("-id")


def list_range(after: int, *, limit: int, types: list[str] | None = None, up_to: int | None = None) -> list[Event]:
    """Numbered events after a position, in order; for delivery and replay.

    Args:
        after: position that was handled last.
        limit: most events to return.
        types: full types; None for all.
        up_to: last position to return.
    """
    events = Event.objects.filter(position__gt=after)
    if up_to is not None:
        events = events.filter(position__lte=up_to)
    if types is not None:
        events = events.filter(type__in=types)
    return list(events.order_by("position")[:limit])


def get_head_position() -> int:
    """Number of the last numbered event of the current tenant."""
    return StreamHead.objects.values_list("position", flat=True).get()


def list_subscriptions() -> QuerySet[Subscription]:
    """Every subscriber's state in the current tenant."""
    return Subscription.objects.order_by("name")


def list_parked(name: str | None = None) -> QuerySet[ParkedEvent]:
    """Parked events of the current tenant, of one subscriber or of all, oldest first."""
    parked = ParkedEvent.objects.select_related("event", "subscription").order_by("position")
    return parked.filter(subscription__name=name) if name else parked
