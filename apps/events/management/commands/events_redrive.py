"""`events_redrive`: look at dead events, and revive or give them up."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.access.contracts import Actor
from apps.events.selectors import list_parked
from apps.events.services.redrive import redrive_events, skip_events
from apps.tenancy.selectors import get_tenant
from apps.tenancy.services.context import tenant_context


class Command(BaseCommand):
    help = "List a tenant's parked events; with --subscriber make its dead ones due again, or give them up with --skip."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="slug")
        parser.add_argument("--subscriber", help="name; without it the parked events are only listed")
        parser.add_argument("--key", help="only events of this key")
        parser.add_argument("--skip", action="store_true", help="give dead events up instead of trying them again")

    def handle(self, *args: Any, **options: Any) -> None:
        with tenant_context(get_tenant(options["tenant"])):
            if not options["subscriber"]:
                for parked in list_parked()[:200]:
                    self.stdout.write(
                        f"{parked.subscription.name} {parked.position} {parked.event.type} {parked.key} "
                        f"{parked.status} after {parked.attempts} attempts: {parked.error or 'waits behind another'}"
                    )
                return
            decide = skip_events if options["skip"] else redrive_events
            count = decide(options["subscriber"], key=options["key"], actor=Actor.system("events_redrive"))
        self.stdout.write(f"{count} events {'given up' if options['skip'] else 'due again'}")
