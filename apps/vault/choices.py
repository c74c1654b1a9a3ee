"""States of a data key."""

from __future__ import annotations

from django.db.models import TextChoices


class KeyStatus(TextChoices):
    """`active` encrypts; `retired` only decrypts what has not been re-encrypted yet; `destroyed` can do nothing."""

    ACTIVE = "active"
    RETIRED = "retired"
    DESTROYED = "destroyed"
