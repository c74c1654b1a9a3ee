"""`manage.py provision_tenant acme "Acme Corp" --domain portal.acme.example --owner ada@acme.example`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.exceptions import PortalError
from apps.tenancy.contracts import StaffMember
from apps.tenancy.management.progress import CommandProgress
from apps.tenancy.services.addresses import absolute_url
from apps.tenancy.services.tenants import provision_tenant


class Command(BaseCommand):
    """Make a tenant, or continue an interrupted one."""

    help = "Make a tenant: schemas, database role, tables, built-in roles, owner's invitation. Safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Slug, name, domains, owner."""
        parser.add_argument("slug", help="part of the address and of schema names, such as acme")
        parser.add_argument("name", nargs="?", help="shown name; the slug with a capital letter when absent")
        parser.add_argument("--domain", action="append", default=[], help="host name; repeatable; the first is primary")
        parser.add_argument("--owner", help="e-mail address that gets the administrator's invitation")

    def handle(self, *args: Any, **options: Any) -> None:
        """Provision with a progress bar."""
        with CommandProgress(self.stdout, verbosity=options["verbosity"]) as progress:
            try:
                tenant = provision_tenant(
                    options["slug"],
                    options["name"] or options["slug"].capitalize(),
                    domains=options["domain"],
                    owner_email=options["owner"],
                    actor=StaffMember("manage.py provision_tenant"),
                    on_progress=progress.show,
                )
            except PortalError as error:
                raise CommandError(f"{error.message} {error.remedy or ''}".strip()) from error
        self.stdout.write(f"{tenant.name} is {tenant.status}: {absolute_url(tenant, '/')}")
