"""`vault_shred`: destroy a tenant's data keys, so that its secrets can never be read again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access.contracts import Actor
from apps.tenancy.selectors import get_tenant
from apps.tenancy.services.context import tenant_context
from apps.vault.services.rotation import destroy_tenant_keys, renew_after_destruction


class Command(BaseCommand):
    help = (
        "Destroy every data key of one tenant (crypto-shred). Cannot be undone. Asks for the tenant's slug, or takes "
        "it by --confirm. --renew instead lets a shredded tenant store secrets again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="slug")
        parser.add_argument("--confirm", help="the slug once more, for scripts")
        parser.add_argument("--reason", default="", help="why; kept in the audit log")
        parser.add_argument("--renew", action="store_true", help="make a new data key after a destruction")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = get_tenant(options["tenant"])
        actor = Actor.system("vault_shred")
        if options["renew"]:
            with tenant_context(tenant):
                version = renew_after_destruction(actor=actor)
            self.stdout.write(f"{tenant.slug}: data key {version} is active")
            return
        if not options["reason"].strip():
            raise CommandError("Say why with --reason; it is kept in the audit log.")
        confirmed = options["confirm"] or input(
            f"All secrets of {tenant.name} become unreadable for ever. Type its slug ({tenant.slug}) to go on: "
        )
        if confirmed.strip() != tenant.slug:
            raise CommandError("Nothing was destroyed: the confirmation is not the tenant's slug.")
        with tenant_context(tenant):
            count = destroy_tenant_keys(actor=actor, reason=options["reason"].strip())
        self.stdout.write(f"{tenant.slug}: {count} data keys destroyed")
