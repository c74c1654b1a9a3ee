"""`run_capture`: turn changes of the tenants' databases into events until stopped."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.connectors.services.capture_runner import CaptureOptions, CaptureRunner


class Command(BaseCommand):
    help = (
        "Capture changes for all tenants and watch their replication slots. Start two for availability: they share "
        "the captures, and one takes over what the other leaves. SIGTERM finishes the transaction under way."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        defaults = CaptureOptions()
        parser.add_argument("--most", type=int, default=defaults.most, help="captures at a time, a thread each")
        parser.add_argument("--poll", type=float, default=defaults.poll_s, help="seconds between looks for work")
        parser.add_argument("--lease", type=float, default=defaults.lease_s, help="seconds until a silent one is left")
        parser.add_argument("--measure", type=float, default=defaults.measure_s, help="seconds between measurements")

    def handle(self, *args: Any, **options: Any) -> None:
        runner = CaptureRunner(
            CaptureOptions(
                most=max(1, options["most"]),
                poll_s=options["poll"],
                lease_s=options["lease"],
                measure_s=options["measure"],
            )
        )
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: runner.stop())
        self.stdout.write("Capture started.")
        runner.run()
        self.stdout.write("Capture stopped.")
