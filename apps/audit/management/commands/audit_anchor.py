"""`audit_anchor`: keep the heads of all audit chains outside the database."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.audit.services.anchors import take_anchors


class Command(BaseCommand):
    help = "Append the head of every tenant's audit chain to a file and to the log. Run it every five minutes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--file", type=Path, help="defaults to settings.AUDIT_ANCHOR_FILE, else only the log")

    def handle(self, *args: Any, **options: Any) -> None:
        configured = getattr(settings, "AUDIT_ANCHOR_FILE", None)
        path = options["file"] or (Path(configured) if configured else None)
        anchors = take_anchors(path)
        self.stdout.write(f"{len(anchors)} chains anchored{f' in {path}' if path else ' in the log'}")
