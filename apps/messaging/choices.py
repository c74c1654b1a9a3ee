"""States of consumers and of messages that could not become events."""

from __future__ import annotations

from django.db.models import TextChoices


class ConsumerStatus(TextChoices):
    """A `paused` one leaves its messages with the broker; a `deleted` one is gone from the lists."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


class MessageFormat(TextChoices):
    """What the body of a message has to be."""

    JSON = "json", "JSON"
    CLOUDEVENTS = "cloudevents", "CloudEvents 1.0, structured"
    TEXT = "text", "Text"


class LetterStatus(TextChoices):
    """A `dead` letter waits for a person; a `redelivered` one became an event after all; `discarded` was given up."""

    DEAD = "dead"
    REDELIVERED = "redelivered"
    DISCARDED = "discarded"
