"""`manage.py for_tenant acme -- shell`: run any command inside one tenant."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from apps.core.exceptions import PortalError
from apps.tenancy.selectors import get_tenant
from apps.tenancy.services.context import tenant_context


class Command(BaseCommand):
    """Enter a tenant and run a command there, with the tenant's database role."""

    help = "Run a command inside one tenant: manage.py for_tenant <slug> -- <command> [arguments]"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Slug and the command line after `--`."""
        parser.add_argument("slug")
        parser.add_argument("command_line", nargs=REMAINDER, metavar="-- command [arguments]")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; its own errors pass through."""
        line = [word for index, word in enumerate(options["command_line"]) if not (index == 0 and word == "--")]
        if not line:
            raise CommandError("Which command? For example: manage.py for_tenant acme -- shell")
        try:
            with tenant_context(get_tenant(options["slug"])):
                call_command(*line, stdout=self.stdout, stderr=self.stderr)
        except PortalError as error:
            raise CommandError(f"{error.message} {error.remedy or ''}".strip()) from error
