"""Run as a program: a consumer process that dies by SIGKILL between a commit and its acknowledgement."""

from __future__ import annotations

import os
import signal
import sys

import django

django.setup()

from apps.connectors.registries import connector_registry  # noqa: E402 - needs the app registry
from apps.messaging.services.running import ConsumerRunner  # noqa: E402
from tests.messaging.consumers import OPTIONS  # noqa: E402


def main(kind: str) -> None:
    """Consume; the first acknowledgement is the end."""
    module = __import__(f"apps.connectors.catalog.{kind}.source", fromlist=["source"])
    source = getattr(module, f"{kind.title()}Source")
    source.acknowledge = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    assert kind in connector_registry
    ConsumerRunner(OPTIONS).run()


if __name__ == "__main__":
    main(sys.argv[1])
