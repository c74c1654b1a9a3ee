"""What messaging tells the registries at start-up."""

from __future__ import annotations

from apps.access.registries import register_permissions
from apps.events.contracts import Consumer, ConsumerFinder, LiveKind
from apps.events.registries import consumer_finders, event_types, live_kinds
from apps.messaging.events import CONSUMER_STOPPED, MESSAGE_RECEIVED
from apps.messaging.selectors import list_consumers

register_permissions(
    [
        ("consumer:view", "See consumers of message brokers and their dead letters"),
        ("consumer:inspect", "See the bodies of dead letters"),
        ("consumer:edit", "Create, change, pause and delete consumers"),
    ]
)
event_types.register(MESSAGE_RECEIVED)
event_types.register(CONSUMER_STOPPED)
live_kinds.register(LiveKind("consumer", "consumer:view"))


def _publishers_of(type_: str) -> list[Consumer]:
    return [Consumer("consumer", row.id, row.name) for row in list_consumers().filter(event_type=type_)]


consumer_finders.register(ConsumerFinder("messaging.consumers", _publishers_of))
