"""States of an event that a subscriber could not take."""

from __future__ import annotations

from django.db.models import TextChoices


class ParkedStatus(TextChoices):
    """`waiting` is tried again by itself; `dead` waits for a person (`events_redrive`)."""

    WAITING = "waiting"
    DEAD = "dead"
