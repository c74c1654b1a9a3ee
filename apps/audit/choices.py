"""Kinds of damage that a verification finds."""

from __future__ import annotations

from django.db.models import TextChoices


class Damage(TextChoices):
    """What is wrong with a chain at one place."""

    CONTENT_CHANGED = "content_changed", "the entry does not match its own hash"
    LINK_BROKEN = "link_broken", "the entry does not follow the one before it"
    MISSING = "missing", "entries are missing before this one"
    UNCHAINED = "unchained", "the entry was never chained"
    HEAD_MISMATCH = "head_mismatch", "the head does not match the last entry"
    ANCHOR_MISSING = "anchor_missing", "an anchored entry is gone: the tail was cut off"
    ANCHOR_MISMATCH = "anchor_mismatch", "an anchored entry has another hash: the chain was rewritten"
