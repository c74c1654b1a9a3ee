"""Reads of the audit log."""

from __future__ import annotations

from django.db.models import QuerySet

from apps.audit.models import AuditEntry


def list_entries() -> QuerySet[AuditEntry]:
    """Entries of the current tenant, newest first, without the hashes' bytes."""
    return AuditEntry.objects.defer("content_hash", "prev_hash").order_by("-id")
