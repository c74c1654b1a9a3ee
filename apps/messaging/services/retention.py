"""What consumers remember is kept as long as the event log: by it duplicates are known."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from apps.messaging.choices import LetterStatus
from apps.messaging.models import DeadLetter, SeenMessage
from apps.tenancy.services.context import each_tenant


def purge_everywhere() -> int:
    """Delete, in every tenant, what was seen and the letters that were settled before the log's retention.

    Returns:
        How many rows went.
    """
    removed = 0
    before = Now() - timedelta(days=settings.EVENTS_RETENTION_DAYS)
    for _tenant in each_tenant():
        removed += SeenMessage.objects.filter(received_at__lt=before).delete()[0]
        settled = DeadLetter.objects.exclude(status=LetterStatus.DEAD)
        removed += settled.filter(settled_at__lt=before).delete()[0]
    return removed
