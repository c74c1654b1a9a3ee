"""Periodic work of messaging."""

from __future__ import annotations

from celery import shared_task

from apps.messaging.services.retention import purge_everywhere


@shared_task(name="messaging.purge")
def purge() -> None:
    """Apply the retention to every tenant; run by beat once a day."""
    purge_everywhere()
