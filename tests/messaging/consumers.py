"""Consumers, brokers' streams and a running runner for the tests of messaging."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import nats
from django.db import connection

from apps.access.contracts import Actor
from apps.connectors.contracts import IncomingMessage
from apps.connectors.services.connections import create_connection
from apps.events.models import Event
from apps.messaging.models import Consumer
from apps.messaging.services.editing import create_consumer, delete_consumer
from apps.messaging.services.running import ConsumerRunner, RunnerOptions
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.brokers import PASSWORD, USER, Broker
from tests.connectors.messages import settings_of

SYSTEM = Actor.system("tests")
WAIT_S = 90.0
OPTIONS = RunnerOptions(poll_s=0.05, wait_s=0.1)


def broker_connection(kind: str, broker: Broker, *, password: str = PASSWORD, **config: Any) -> str:
    """Short name of a connection to the broker, in the entered tenant."""
    name = f"{kind} {uuid4().hex[:10]}"
    made = create_connection(
        name, kind, config=settings_of(broker, **config), secrets={"password": password}, actor=SYSTEM
    )
    return made.slug


def idle_connection() -> str:
    """Short name of a connection to a broker that is not there; for what never connects."""
    config = {"host": "127.0.0.1", "port": 1, "tls_mode": "disable"}
    return create_connection(f"idle {uuid4().hex[:10]}", "nats", config=config, actor=SYSTEM).slug


@contextmanager
def consumer(connection_slug: str, source: str, **settings: Any) -> Iterator[Consumer]:
    """A consumer in the entered tenant; deleted afterwards, so that no later runner takes it."""
    made = create_consumer(
        f"Consumer {uuid4().hex[:10]}",
        environment="dev",
        connection=connection_slug,
        source=source,
        actor=SYSTEM,
        **{"from_start": True, **settings},
    )
    try:
        yield made
    finally:
        delete_consumer(made.id, actor=SYSTEM)


@contextmanager
def running() -> Iterator[ConsumerRunner]:
    """A runner in this process."""
    runner = ConsumerRunner(OPTIONS)
    thread = threading.Thread(target=runner.run, name="runner")
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def wait_until(holds: Callable[[], Any], what: str = "") -> Any:
    """The first true answer."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if answer := holds():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {WAIT_S:g} s: {what}")


def fresh(row: Consumer) -> Consumer:
    """The consumer as it stands."""
    return Consumer.objects.get(id=row.id)


def wait_published(row: Consumer, count: int) -> Consumer:
    """The consumer once it has published so many."""
    found = wait_until(lambda: (now := fresh(row)).published >= count and now, f"{count} published")
    assert found.published == count
    return found


def bodies_of(row: Consumer) -> list[Any]:
    """Bodies of the events that the consumer published, in their order."""
    found = Event.objects.filter(subject=f"consumer/{row.id}").order_by("arrival")
    return [one.data["body"] for one in found]


def message(body: bytes, **facts: Any) -> IncomingMessage:
    """A message as a connector gives it."""
    return IncomingMessage(body=body, source="orders", **facts)


async def _with_stream(port: int, action: Callable[[Any], Any]) -> Any:
    client = await nats.connect(f"nats://127.0.0.1:{port}", user=USER, password=PASSWORD)
    try:
        return await action(client.jetstream())
    finally:
        await client.close()


def jetstream(broker: Broker, action: Callable[[Any], Any]) -> Any:
    """Ask JetStream as another client; in a thread, since Playwright keeps a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _with_stream(broker.port, action)).result()


def publish_raw(broker: Broker, subject: str, bodies: Sequence[bytes]) -> None:
    """Publish to a stream without the portal."""

    async def send(stream: Any) -> None:
        for body in bodies:
            await stream.publish(subject, body)

    jetstream(broker, send)


@contextmanager
def inside(tenant: Tenant) -> Iterator[None]:
    """Inside a tenant, with a connection that sees what others have committed meanwhile."""
    with tenant_context(tenant):
        yield
    connection.close()
