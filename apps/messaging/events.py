"""Events that messaging publishes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apps.events.contracts import EventType


@dataclass(frozen=True)
class MessageReceived:
    """Payload of a message that a consumer took.

    Attributes:
        consumer: which one.
        source: routing key, subject or topic.
        message_id: the sender's id; empty when it gave none.
        position: place in the broker's log; empty where there is none.
        content_type: as the sender said.
        headers: text headers.
        body: the JSON body, or text for a consumer of text.
    """

    consumer: UUID
    source: str
    message_id: str = ""
    position: str = ""
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True)
class ConsumerStopped:
    """Payload: which consumer paused itself, and why."""

    consumer: UUID
    name: str
    reason: str


MESSAGE_RECEIVED = EventType("message.received.v1", MessageReceived, "A consumer took a message from a broker.")
CONSUMER_STOPPED = EventType(
    "consumer.stopped.v1",
    ConsumerStopped,
    "A consumer paused itself because too many of its messages could not become events.",
    hint_kind="consumer",
    hint_facts=("reason",),
)
