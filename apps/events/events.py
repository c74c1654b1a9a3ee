"""Events that the event bus itself publishes."""

from __future__ import annotations

from dataclasses import dataclass
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
