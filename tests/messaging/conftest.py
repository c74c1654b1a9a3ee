"""Fixtures of messaging's tests."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.brokers import Broker, nats_server, rabbitmq
from tests.messaging.consumers import jetstream

__all__ = ["nats_server", "rabbitmq"]


@pytest.fixture
def stream(nats_server: Broker) -> Iterator[str]:
    """A stream of its own; its subjects begin with its name."""
    name = f"M{uuid4().hex[:10]}"
    jetstream(nats_server, lambda js: js.add_stream(name=name, subjects=[f"{name}.>"]))
    yield name
    jetstream(nats_server, lambda js: js.delete_stream(name))
