"""`manage.py seed_demo`: the demo's tenants, people, ERPs, connections and flows. Safe to repeat."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.exceptions import PortalError
from apps.portal.services.demo import seed_demo


class Command(BaseCommand):
    """Makes whatever of the demo is missing and prints the addresses and log-ins."""

    help = "Make the demo: tenants acme and globex with people, an ERP each, connections, flows and a first run."

    def add_arguments(self, parser: CommandParser) -> None:
        """`--json` prints the result as one JSON object on the last line."""
        parser.add_argument("--json", action="store_true", help="print the sites as one JSON object on the last line")

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed, with one line a step."""
        try:
            result = seed_demo(lambda step, share: self.stdout.write(f"{share:4.0%}  {step}"))
        except PortalError as error:
            raise CommandError(f"{error.message} {error.remedy or ''}".strip()) from error
        if options["json"]:
            self.stdout.write(json.dumps(result))
            return
        for site in result["sites"]:
            self.stdout.write(f"\n{site['title']}  http://{site['host']}{site.get('path', '/')}")
            for login in site["logins"]:
                self.stdout.write(f"    {login['role']:<15} {login['email']:<28} {login['password']}")
