"""Periodic work of the audit log."""

from __future__ import annotations

from pathlib import Path

from celery import shared_task
from django.conf import settings

from apps.audit.services.anchors import take_anchors


@shared_task(name="audit.anchor")
def anchor() -> int:
    """Anchor every tenant's head; run by beat every five minutes. Returns the number of tenants."""
    path = getattr(settings, "AUDIT_ANCHOR_FILE", None)
    return len(take_anchors(Path(path) if path else None))
