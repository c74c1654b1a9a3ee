"""`run_dispatcher`: send what subscriptions have due, until stopped."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.events.services.dispatcher import Dispatcher, DispatcherOptions


class Command(BaseCommand):
    help = (
        "Send due deliveries of all tenants. `run_relay` does it too; start these on other machines when endpoints are "
        "many. SIGTERM finishes the attempts under way."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        defaults = DispatcherOptions()
        parser.add_argument("--slots", type=int, default=defaults.slots, help="attempts under way at a time")
        parser.add_argument("--poll", type=float, default=defaults.poll_s, help="seconds between polls")

    def handle(self, *args: Any, **options: Any) -> None:
        slots = max(8, options["slots"])
        dispatcher = Dispatcher(DispatcherOptions(slots=slots, failing_slots=slots * 3 // 8, poll_s=options["poll"]))
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: dispatcher.stop())
        self.stdout.write("Dispatcher started.")
        dispatcher.run()
        self.stdout.write("Dispatcher stopped.")
