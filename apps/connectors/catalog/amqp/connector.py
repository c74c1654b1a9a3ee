"""RabbitMQ and other brokers of AMQP 0-9-1: publishes to exchanges and queues, consumes queues."""

from __future__ import annotations

from collections.abc import Iterator

import amqp
import pyarrow as pa

from apps.connectors.base import CheckRun, MessageSource
from apps.connectors.catalog.amqp.link import close_link, open_link, translated
from apps.connectors.catalog.amqp.publisher import AmqpPublisher
from apps.connectors.catalog.amqp.source import AmqpSource
from apps.connectors.choices import EntityKind
from apps.connectors.contracts import (
    CheckResult,
    ConsumeRequest,
    EntityPage,
    EntityRef,
    EntitySchema,
    ReadRequest,
    message_schema,
)
from apps.connectors.exceptions import EntityGone, NotSupported
from apps.connectors.messaging.connector import BrokerConnector
from apps.connectors.messaging.settings import read_destinations
from apps.connectors.messaging.writer import Publisher
from apps.core.services.egress import resolve_target


class AmqpConnector(BrokerConnector):
    """Opens a connection for what it is asked: AMQP has no request that is worth keeping one for."""

    def check(self) -> CheckResult:
        """Address, sign-in, then every configured queue and exchange."""
        run = CheckRun()
        opened: list[amqp.Connection] = []
        queues = list(self.config.get("queues") or [])
        places = list(read_destinations(self.config).values())
        exchanges = sorted({one.exchange for one in places if one.exchange})

        def address() -> str:
            target = resolve_target(str(self.config["host"]), int(self.config.get("port", 5671)), purpose="check")
            return f"{target.host} is {target.ip}."

        def sign_in() -> str:
            opened.append(open_link(self.config, self._secrets, purpose="check"))
            product = opened[0].server_properties or {}
            return f"Signed in to {product.get('product', 'the broker')} {product.get('version', '')}".strip() + "."

        def look() -> str:
            for name in queues:
                with translated(f"the queue {name!r}"):
                    opened[0].channel().queue_declare(name, passive=True)
            for name in exchanges:
                with translated(f"the exchange {name!r}"):
                    opened[0].channel().exchange_declare(name, "", passive=True)
            return f"{len(queues)} queues and {len(exchanges)} exchanges are there."

        run.step("Address", address)
        run.step("Sign in", sign_in)
        run.step("Queues and exchanges", look)
        for connection in opened:
            close_link(connection)
        return run.result("The broker takes messages.")

    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """The configured queues and destinations: AMQP 0-9-1 has no way to list what a broker has."""
        names = {*(self.config.get("queues") or []), *read_destinations(self.config)}
        found = sorted(name for name in names if search.lower() in name.lower())
        rest = [name for name in found if cursor is None or name > cursor]
        page = tuple(EntityRef(name, name, EntityKind.RESOURCE) for name in rest[:limit])
        return EntityPage(page, page[-1].name if len(rest) > limit else None)

    def describe(self, entity: str) -> EntitySchema:
        """The columns of messages.

        Raises:
            EntityGone: neither a destination nor a queue has this name.
        """
        if entity in read_destinations(self.config):
            return message_schema(entity)
        connection = open_link(self.config, self._secrets, purpose="describe")
        try:
            with translated(f"The queue {entity!r}"):
                connection.channel().queue_declare(entity, passive=True)
        finally:
            close_link(connection)
        return message_schema(entity)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """A queue gives a message to one reader only, so that looking is taking: consume it instead."""
        raise NotSupported(
            "A queue cannot be read without taking its messages away.",
            value=request.entity,
            remedy="Create a consumer, which keeps each message as an event.",
        )

    def make_publisher(self) -> Publisher:
        """See `BrokerConnector.make_publisher`."""
        return AmqpPublisher(self.config, self._secrets)

    def open_consumer(self, request: ConsumeRequest) -> MessageSource:
        """Messages of a queue.

        Raises:
            EntityGone: there is no such queue.
        """
        if not request.source:
            raise EntityGone("The consumer names no queue.", field="source")
        return AmqpSource(self.config, self._secrets, request)
