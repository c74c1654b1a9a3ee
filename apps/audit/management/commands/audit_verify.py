"""`audit_verify`: recompute audit chains and compare them with anchors."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.audit.services.anchors import read_anchors
from apps.audit.services.verification import verify_chain
from apps.tenancy.selectors import get_tenant, list_active_tenants
from apps.tenancy.services.context import tenant_context


class Command(BaseCommand):
    help = "Verify the audit chain of one tenant or of all. Ends with an error if anything was changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", help="slug; all active tenants when absent")
        parser.add_argument("--anchors", type=Path, help="file of audit_anchor; defaults to settings.AUDIT_ANCHOR_FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        configured = getattr(settings, "AUDIT_ANCHOR_FILE", None)
        path = options["anchors"] or (Path(configured) if configured and Path(configured).exists() else None)
        anchors = read_anchors(path) if path else []
        if not anchors:
            self.stderr.write("No anchors: a cut-off tail or a rewritten chain cannot be noticed (see audit_anchor).")
        damaged: list[str] = []
        tenants = [get_tenant(options["tenant"])] if options["tenant"] else list_active_tenants()
        for tenant in tenants:
            began = time.monotonic()
            with tenant_context(tenant):
                report = verify_chain(anchors)
            took = time.monotonic() - began
            state = "intact" if report.ok else "DAMAGED"
            self.stdout.write(
                f"{tenant.slug}: {report.entries} entries, {report.anchors_checked} anchors, {state} ({took:.1f} s)"
            )
            for finding in report.findings:
                self.stdout.write(f"  {finding}")
            if not report.ok:
                damaged.append(tenant.slug)
        if damaged:
            raise CommandError(f"The audit log was changed: {', '.join(damaged)}.")
