"""Events that the event bus itself publishes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.events.contracts import EventType


@dataclass(frozen=True)
class SubscriptionTested:
    """Payload of a test event; it goes to the named subscription only."""

    subscription: UUID
    name: str


@dataclass(frozen=True)
class SubscriptionDisabled:
    """Payload: which subscription stopped, and why."""

    subscription: UUID
    name: str
    reason: str


SUBSCRIPTION_TESTED = EventType(
    "subscription.tested.v1", SubscriptionTested, "Somebody tries whether a subscription's target takes events."
)
SUBSCRIPTION_DISABLED = EventType(
    "subscription.disabled.v1",
    SubscriptionDisabled,
    "A subscription was disabled because its target failed for days or wants no more.",
    hint_kind="subscription",
    hint_facts=("reason",),
)


@dataclass(frozen=True)
class WebhookReceived:
    """Payload of a webhook that was taken.

    Attributes:
        endpoint: where it arrived.
        message_id: the sender's id of it.
        content_type: as the sender said.
        body: the JSON body; text for another body; None when it is too large for an event (see `truncated`).
        truncated: the body is with the received message only.
    """

    endpoint: UUID
    message_id: str
    content_type: str
    body: Any = None
    truncated: bool = False


WEBHOOK_RECEIVED = EventType("webhook.received.v1", WebhookReceived, "Another system's webhook was verified and taken.")
