"""Plug-in points of the event bus: event types, subscribers, and kinds that browsers may watch."""

from __future__ import annotations

from apps.core.registries import Registry
from apps.events.contracts import ConsumerFinder, DeliveryTarget, EventType, LiveKind, Subscriber, to_full_type
from apps.events.exceptions import EventTypeUnknown

event_types: Registry[EventType] = Registry("event type", EventType)
subscribers: Registry[Subscriber] = Registry("subscriber", Subscriber)  # type: ignore[type-abstract]
live_kinds: Registry[LiveKind] = Registry("live kind", LiveKind)
delivery_targets: Registry[DeliveryTarget] = Registry("delivery target", DeliveryTarget)  # type: ignore[type-abstract]
consumer_finders: Registry[ConsumerFinder] = Registry("consumer finder", ConsumerFinder)


def get_event_type(type_: str) -> EventType:
    """The type by its short or full name.

    Raises:
        EventTypeUnknown: no app registered it.
    """
    found = event_types.find(to_full_type(type_))
    if found is None:
        raise EventTypeUnknown(f"No app has registered the event type {type_!r}.", value=type_)
    return found


def find_live_kind(name: str) -> LiveKind | None:
    """The kind whose singular or plural name that is."""
    return live_kinds.find(name) or next((kind for kind in live_kinds if kind.plural == name), None)
