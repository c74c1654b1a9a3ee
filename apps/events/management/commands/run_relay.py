"""`run_relay`: deliver events to subscribers until stopped."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.events.services.dispatcher import Dispatcher
from apps.events.services.relay import Relay, RelayOptions


class Command(BaseCommand):
    help = (
        "Deliver events of all tenants to their subscribers. Start two for availability: one leads, the other stands "
        "by; both send what subscriptions have due. SIGTERM finishes the visits and attempts under way."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        defaults = RelayOptions()
        parser.add_argument("--workers", type=int, default=defaults.workers, help="threads, each with one connection")
        parser.add_argument("--poll", type=float, default=defaults.poll_s, help="seconds between polls")
        parser.add_argument(
            "--lease", type=float, default=defaults.lease_s, help="seconds until a silent leader is cut"
        )

        parser.add_argument(
            "--no-dispatch", action="store_true", help="number and fan out only; run_dispatcher sends, elsewhere"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        relay = Relay(
            RelayOptions(workers=max(1, options["workers"]), poll_s=options["poll"], lease_s=options["lease"])
        )
        dispatcher = None if options["no_dispatch"] else Dispatcher()

        def stop(*_: Any) -> None:
            relay.stop()
            if dispatcher is not None:
                dispatcher.stop()

        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, stop)
        self.stdout.write("Relay started.")
        sender = threading.Thread(target=dispatcher.run, name="dispatcher") if dispatcher is not None else None
        if sender is not None:
            sender.start()
        relay.run()
        if sender is not None:
            sender.join()
        self.stdout.write("Relay stopped.")
