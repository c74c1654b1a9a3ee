"""How long decided rows are kept. Rows that wait for somebody are never removed."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction

from apps.access.contracts import Actor
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.quality.choices import QuarantineStatus
from apps.quality.models import QuarantinedRow

log = structlog.get_logger(__name__)

RETENTION_DAYS = 400
"""Default of settings.QUALITY_RETENTION_DAYS: a financial year and the time to close it."""
BATCH_ROWS = 5_000


def purge_decided_rows(*, older_than_days: int | None = None) -> int:
    """Remove replayed and discarded rows that were decided long ago, batch by batch, and audit how many.

    Args:
        older_than_days: age of the decision; `settings.QUALITY_RETENTION_DAYS` (400) when absent.

    Returns:
        Rows removed. Safe to call at any time and to stop in the middle.
    """
    days = (
        older_than_days if older_than_days is not None else getattr(settings, "QUALITY_RETENTION_DAYS", RETENTION_DAYS)
    )
    limit = now() - timedelta(days=days)
    decided = QuarantinedRow.objects.filter(
        status__in=[QuarantineStatus.REPLAYED, QuarantineStatus.DISCARDED], decided_at__lt=limit
    )
    removed = 0
    while True:
        with transaction.atomic():
            ids = list(decided.order_by("decided_at").values_list("pk", flat=True)[:BATCH_ROWS])
            if not ids:
                break
            removed += QuarantinedRow.objects.filter(pk__in=ids).delete()[0]
            record_audit(
                actor=Actor.system("retention"),
                action="quarantine.rows_purged",
                target_type="quarantine",
                target_id=ids[0],
                summary=f"Removed {len(ids)} decided rows older than {days} days.",
                facts={"rows": len(ids), "days": days},
            )
    if removed:
        log.info("quarantine_purged", rows=removed, days=days)
    return removed
