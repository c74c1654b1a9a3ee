"""The Kafka protocol: publishes idempotently, reads topics as tables, consumes them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from apps.connectors.base import CheckRun, MessageSource
from apps.connectors.catalog.kafka.link import KafkaLink
from apps.connectors.catalog.kafka.publisher import KafkaPublisher
from apps.connectors.catalog.kafka.source import KafkaSource, find_partitions, list_topics, read_topic
from apps.connectors.choices import EntityKind
from apps.connectors.contracts import (
    CheckResult,
    ConnectionContext,
    ConsumeRequest,
    EntityPage,
    EntityRef,
    EntitySchema,
    Manifest,
    ReadRequest,
    message_schema,
)
from apps.connectors.messaging.connector import BrokerConnector
from apps.connectors.messaging.reading import read_batches
from apps.connectors.messaging.settings import read_destinations
from apps.connectors.messaging.writer import Publisher
from apps.core.services.egress import probe, resolve_target


class KafkaConnector(BrokerConnector):
    """One link for looking and reading, one producer; each is opened when it is needed."""

    def __init__(self, manifest: Manifest, context: ConnectionContext) -> None:
        """Make a connector that is not connected."""
        super().__init__(manifest, context)
        self._link: KafkaLink | None = None

    def disconnect(self) -> None:
        """Close the link and the publisher."""
        super().disconnect()
        if self._link is not None:
            self._link.close()
            self._link = None

    def check(self) -> CheckResult:
        """Address, port, then the topics that the user may see."""
        run = CheckRun()

        def address() -> str:
            target = resolve_target(str(self.config["host"]), int(self.config.get("port", 9093)), purpose="check")
            return f"{target.host} is {target.ip}."

        def port() -> str:
            target = resolve_target(str(self.config["host"]), int(self.config.get("port", 9093)), purpose="check")
            probe(target, timeout_s=float(self.config.get("connect_timeout_s", 10)))
            return f"Port {target.port} answers."

        def topics() -> str:
            link = self._open()
            return f"{len(link.call(list_topics(link)))} topics are visible."

        run.step("Address", address)
        run.step("Port", port)
        run.step("Sign in and list topics", topics)
        return run.result("The cluster takes messages.")

    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """Topics by name, and the configured destinations."""
        link = self._open()
        names = {*link.call(list_topics(link)), *read_destinations(self.config)}
        found = sorted(name for name in names if search.lower() in name.lower())
        rest = [name for name in found if cursor is None or name > cursor]
        page = tuple(EntityRef(name, name, EntityKind.RESOURCE) for name in rest[:limit])
        return EntityPage(page, page[-1].name if len(rest) > limit else None)

    def describe(self, entity: str) -> EntitySchema:
        """The columns of messages.

        Raises:
            EntityGone: neither a destination nor a topic has this name.
        """
        if entity not in read_destinations(self.config):
            link = self._open()
            link.call(find_partitions(link, entity), what=entity)
        return message_schema(entity)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """Messages of a topic that are there now; positions count from `partition << 40`."""
        return read_batches(read_topic(self._open(), request.entity), request, self.rejected)

    def make_publisher(self) -> Publisher:
        """See `BrokerConnector.make_publisher`."""
        return KafkaPublisher(self.config, self._secrets)

    def open_consumer(self, request: ConsumeRequest) -> MessageSource:
        """Messages of a topic.

        Raises:
            EntityGone: there is no such topic.
        """
        return KafkaSource(self.config, self._secrets, request)

    def _open(self) -> KafkaLink:
        if self._link is None:
            self._link = KafkaLink(self.config, self._secrets)
        return self._link
