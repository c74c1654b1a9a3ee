"""Periodic work of the event bus."""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command


@shared_task(name="events.purge")
def purge() -> None:
    """Apply the retention to every tenant; run by beat once a day."""
    call_command("events_purge")
