"""`run_relay`: deliver events to subscribers until stopped."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.events.services.relay import Relay, RelayOptions


class Command(BaseCommand):
    help = (
        "Deliver events of all tenants to their subscribers. Start two for availability: one leads, the other stands "
        "by. SIGTERM finishes the visits under way."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        defaults = RelayOptions()
        parser.add_argument("--workers", type=int, default=defaults.workers, help="threads, each with one connection")
        parser.add_argument("--poll", type=float, default=defaults.poll_s, help="seconds between polls")
        parser.add_argument(
            "--lease", type=float, default=defaults.lease_s, help="seconds until a silent leader is cut"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        relay = Relay(
            RelayOptions(workers=max(1, options["workers"]), poll_s=options["poll"], lease_s=options["lease"])
        )
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: relay.stop())
        self.stdout.write("Relay started.")
        relay.run()
        self.stdout.write("Relay stopped.")
