"""States of events that wait, of subscriptions and of deliveries."""

from __future__ import annotations

from django.db.models import TextChoices


class ParkedStatus(TextChoices):
    """`waiting` is tried again by itself; `dead` waits for a person (`events_redrive`)."""

    WAITING = "waiting"
    DEAD = "dead"


class SubscriptionStatus(TextChoices):
    """`paused` collects deliveries and sends none; `disabled` collects none; `archived` is gone from the lists."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    ARCHIVED = "archived"


class DeliveryStatus(TextChoices):
    """`failed` is tried again by itself; `dead` waits for a person; `discarded` was given up by one."""

    PENDING = "pending"
    DELIVERING = "delivering"
    FAILED = "failed"
    DELIVERED = "delivered"
    DEAD = "dead"
    DISCARDED = "discarded"


OPEN_DELIVERIES = (DeliveryStatus.PENDING, DeliveryStatus.DELIVERING, DeliveryStatus.FAILED)


class EndpointStatus(TextChoices):
    """A `paused` endpoint answers 503, so that well-behaved senders come again; an `archived` one is unknown."""

    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


class SignatureScheme(TextChoices):
    """How a sender signs."""

    STANDARD = "standard-webhooks", "Standard Webhooks"
    STRIPE = "stripe", "Stripe"
    SLACK = "slack", "Slack"
    GITHUB = "github", "GitHub"
    HMAC = "hmac", "HMAC of your own"


class Compatibility(TextChoices):
    """What a new version of a contract must keep.

    `forward`: consumers of the old version can read new events. `backward`: consumers of the new version can read old
    events (replay). `full`: both.
    """

    NONE = "none"
    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"
