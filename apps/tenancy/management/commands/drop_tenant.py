"""`manage.py drop_tenant acme --confirm acme`: remove a suspended tenant with all its data."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.exceptions import PortalError
from apps.tenancy.contracts import StaffMember
from apps.tenancy.selectors import get_tenant
from apps.tenancy.services.tenants import drop_tenant


class Command(BaseCommand):
    """Remove a tenant. There is no way back but a backup."""

    help = "Remove a suspended tenant: schemas, warehouse, role, domains. There is no way back but a backup."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Slug, twice."""
        parser.add_argument("slug")
        parser.add_argument("--confirm", required=True, help="the slug once more")

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove it."""
        if options["confirm"] != options["slug"]:
            raise CommandError("--confirm must repeat the slug. Nothing was removed.")
        try:
            drop_tenant(get_tenant(options["slug"]), actor=StaffMember("manage.py drop_tenant"))
        except PortalError as error:
            raise CommandError(f"{error.message} {error.remedy or ''}".strip()) from error
        self.stdout.write(f"{options['slug']} was removed.")
