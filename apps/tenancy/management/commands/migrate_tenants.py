"""`manage.py migrate_tenants --jobs 4`: public schema, then one tenant as canary, then all others."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from apps.core.exceptions import PortalError
from apps.tenancy.management.progress import CommandProgress
from apps.tenancy.models import Tenant
from apps.tenancy.selectors import find_tenant
from apps.tenancy.services.database_roles import check_database_rights
from apps.tenancy.services.migration_workers import migrate_in_processes
from apps.tenancy.services.migrations import (
    has_public_changes,
    list_outdated_tenants,
    migrate_public,
    migrate_tenant,
)

EXIT_OUTDATED = 3


class Command(BaseCommand):
    """Bring every schema up to date; unchanged ones are skipped, an interrupted run is simply started again."""

    help = "Migrate the public schema and every tenant. Skips what is unchanged; start it again after any interruption."

    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Width, canary, dry run."""
        parser.add_argument("--jobs", type=int, default=1, help="tenants at a time, each in a process of its own")
        parser.add_argument("--canary", help="slug of the tenant that goes first; the oldest outdated one when absent")
        parser.add_argument(
            "--check", action="store_true", help="change nothing; exit with 3 when a schema is outdated"
        )
        parser.add_argument(
            "--force", action="store_true", help="visit unchanged tenants too (renews rights and roles)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the phases; a failing canary stops everything, a failing other tenant only itself."""
        if options["check"]:
            self._check()
            return
        with CommandProgress(self.stdout, verbosity=options["verbosity"]) as progress:
            progress.show("public schema", 0, 1)
            try:
                check_database_rights()
                if has_public_changes():
                    migrate_public()
            except PortalError as error:
                raise CommandError(f"{error.message} {error.remedy or ''}".strip()) from error
            tenants = list_outdated_tenants(every=options["force"])
            failed = self._migrate(tenants, progress, options) if tenants else []
        if failed:
            raise CommandError(
                f"{len(failed)} of {len(tenants)} tenants failed: {', '.join(sorted(failed))}. "
                "Fix the cause and start again; finished tenants are skipped."
            )
        self.stdout.write(f"Migrated {len(tenants)} tenants." if tenants else "Every schema is up to date.")

    def _migrate(self, tenants: list[Tenant], progress: CommandProgress, options: dict[str, Any]) -> list[str]:
        canary = find_tenant(options["canary"]) if options["canary"] else tenants[0]
        if canary is None:
            raise CommandError(f"There is no tenant {options['canary']!r}.")
        others = [tenant for tenant in tenants if tenant.pk != canary.pk]
        slugs = {str(tenant.pk): tenant.slug for tenant in others}
        total, finished, failed = len(others) + 1, 1, list[str]()
        progress.show(f"{canary.slug} (canary)", 0, total)
        try:
            migrate_tenant(canary, force=options["force"])
        except Exception as error:
            text = f"{error.message} {error.remedy or ''}" if isinstance(error, PortalError) else str(error)
            raise CommandError(f"The canary {canary.slug} failed, no other tenant was touched: {text}") from error

        def done(tenant_id: str, error: str | None) -> None:
            nonlocal finished
            finished += 1
            if error is not None:
                failed.append(slugs[tenant_id])
                progress.note(f"{slugs[tenant_id]} failed: {error}")
            progress.show(slugs[tenant_id], finished, total)

        progress.show(f"{canary.slug} (canary)", 1, total)
        if options["jobs"] > 1 and len(others) > 1:
            database = connection.settings_dict["NAME"]
            migrate_in_processes(list(slugs), jobs=options["jobs"], database=database, on_done=done)
            return failed
        for tenant in others:
            try:
                migrate_tenant(tenant, force=options["force"])
            except Exception as error:  # noqa: BLE001 - one tenant's failure must not keep the others waiting
                done(str(tenant.pk), error.message if isinstance(error, PortalError) else str(error))
            else:
                done(str(tenant.pk), None)
        return failed

    def _check(self) -> None:
        outdated = [tenant.slug for tenant in list_outdated_tenants()]
        if has_public_changes():
            outdated.insert(0, "public")
        if outdated:
            self.stdout.write(f"Outdated: {', '.join(outdated)}")
            sys.exit(EXIT_OUTDATED)
        self.stdout.write("Every schema is up to date.")
