"""`run_consumers`: take messages from brokers until stopped."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.messaging.services.running import ConsumerRunner, RunnerOptions


class Command(BaseCommand):
    help = (
        "Take messages of all tenants' consumers from their brokers and publish them as events. Start several for "
        "availability: each consumer is held by one of them. SIGTERM keeps the batches under way."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        defaults = RunnerOptions()
        parser.add_argument("--slots", type=int, default=defaults.slots, help="consumers at a time")
        parser.add_argument("--poll", type=float, default=defaults.poll_s, help="seconds between polls")

    def handle(self, *args: Any, **options: Any) -> None:
        runner = ConsumerRunner(RunnerOptions(slots=max(1, options["slots"]), poll_s=options["poll"]))
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: runner.stop())
        self.stdout.write("Consumers started.")
        runner.run()
        self.stdout.write("Consumers stopped.")
