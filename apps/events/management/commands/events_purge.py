"""`events_purge`: retention of the event log."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.events.services.retention import purge_events
from apps.tenancy.services.context import each_tenant

DEFAULT_DAYS = 90


class Command(BaseCommand):
    help = "Delete events that are older than the retention and that every subscriber has passed. Repeatable."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="defaults to settings.EVENTS_RETENTION_DAYS, else 90")

    def handle(self, *args: Any, **options: Any) -> None:
        days = (
            options["days"] if options["days"] is not None else getattr(settings, "EVENTS_RETENTION_DAYS", DEFAULT_DAYS)
        )
        if days < 1:
            raise CommandError("Keep events for at least one day.")
        for tenant in each_tenant():
            removed = purge_events(older_than=timedelta(days=days))
            self.stdout.write(f"{tenant.slug}: {removed} events deleted")
