"""`vault_rotate`: re-wrap or replace data keys of one tenant or of all."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access.contracts import Actor
from apps.core.exceptions import PortalError
from apps.tenancy.contracts import TenantRef
from apps.tenancy.selectors import get_tenant, list_active_tenants
from apps.tenancy.services.context import tenant_context
from apps.vault.contracts import RotationProgress
from apps.vault.services.rotation import resume_rotation, rewrap_data_keys, rotate_data_keys


class Command(BaseCommand):
    help = (
        "Rotate the vault's keys. --kek re-wraps every data key by the first key of VAULT_KEYS (put a new one first); "
        "--dek makes a new data key and re-encrypts all secrets; --resume finishes a killed --dek. Repeatable."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        kind = parser.add_mutually_exclusive_group(required=True)
        kind.add_argument("--kek", action="store_true", help="re-wrap data keys (fast; secrets stay untouched)")
        kind.add_argument("--dek", action="store_true", help="new data key, re-encrypt all secrets")
        kind.add_argument("--resume", action="store_true", help="finish an interrupted --dek")
        parser.add_argument("--tenant", help="slug; all active tenants when absent")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor.system("vault_rotate")
        failed: list[str] = []
        tenants = [get_tenant(options["tenant"])] if options["tenant"] else list_active_tenants()
        for tenant in tenants:
            try:
                with tenant_context(tenant):
                    self._rotate(tenant, actor, options)
            except PortalError as error:
                failed.append(tenant.slug)
                self.stderr.write(f"{tenant.slug}: {error.message} {error.remedy or ''}")
        if failed:
            raise CommandError(f"Not finished for: {', '.join(failed)}. Run the command again; done work is skipped.")

    def _rotate(self, tenant: TenantRef, actor: Actor, options: dict[str, Any]) -> None:
        def show(progress: RotationProgress) -> None:
            if options["verbosity"] > 1:
                self.stdout.write(f"{tenant.slug}: {progress.done} of {progress.total}")

        if options["kek"]:
            count = rewrap_data_keys(actor=actor, on_progress=show)
            self.stdout.write(f"{tenant.slug}: {count} data keys re-wrapped")
            return
        if options["dek"]:
            count = rotate_data_keys(actor=actor, on_progress=show)
        else:
            count = resume_rotation(on_progress=show)
        self.stdout.write(f"{tenant.slug}: {count} secrets re-encrypted")
