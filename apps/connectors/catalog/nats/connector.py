"""NATS JetStream: publishes with acknowledgement, reads streams as tables, consumes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from apps.connectors.base import CheckRun, MessageSource
from apps.connectors.catalog.nats.link import NatsLink, split_source
from apps.connectors.catalog.nats.publisher import NatsPublisher
from apps.connectors.catalog.nats.source import NatsSource, read_stream
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
from apps.connectors.messaging.reading import first_position, read_batches
from apps.connectors.messaging.settings import read_destinations
from apps.connectors.messaging.writer import Publisher
from apps.core.services.egress import resolve_target

STREAMS_MOST = 5_000


class NatsConnector(BrokerConnector):
    """One link for looking and reading, one for publishing; each is opened when it is needed."""

    def __init__(self, manifest: Manifest, context: ConnectionContext) -> None:
        """Make a connector that is not connected."""
        super().__init__(manifest, context)
        self._link: NatsLink | None = None

    def disconnect(self) -> None:
        """Close the link and the publisher."""
        super().disconnect()
        if self._link is not None:
            self._link.close()
            self._link = None

    def check(self) -> CheckResult:
        """Address, sign-in, JetStream."""
        run = CheckRun()

        def address() -> str:
            target = resolve_target(str(self.config["host"]), int(self.config.get("port", 4222)), purpose="check")
            return f"{target.host} is {target.ip}."

        def sign_in() -> str:
            return f"Signed in to NATS {self._open().server_version}."

        def streams() -> str:
            link = self._open()
            account = link.call(link.stream.account_info(), what="JetStream")
            return f"JetStream has {account.streams} streams."

        run.step("Address", address)
        run.step("Sign in", sign_in)
        run.step("JetStream", streams)
        return run.result("The server takes messages.")

    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """Streams by name, and the configured destinations."""
        refs = {
            name: EntityRef(name, f"{name} → {place.address}", EntityKind.RESOURCE)
            for name, place in read_destinations(self.config).items()
        }
        link = self._open()
        for info in link.call(_list_streams(link), what="JetStream"):
            name = str(info.config.name)
            label = f"{name} ({', '.join(info.config.subjects or [])})"
            refs[name] = EntityRef(name, label[:200], EntityKind.RESOURCE, int(info.state.messages))
        found = sorted(name for name in refs if search.lower() in refs[name].label.lower())
        rest = [name for name in found if cursor is None or name > cursor]
        page = tuple(refs[name] for name in rest[:limit])
        return EntityPage(page, page[-1].name if len(rest) > limit else None)

    def describe(self, entity: str) -> EntitySchema:
        """The columns of messages.

        Raises:
            EntityGone: neither a destination nor a stream has this name.
        """
        if entity not in read_destinations(self.config):
            link = self._open()
            link.call(link.stream.stream_info(split_source(entity)[0]), what=entity)
        return message_schema(entity)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """Messages of a stream, or of `stream/subject`, by sequence."""
        messages = read_stream(self._open(), request.entity, first_position(request.cursor))
        return read_batches(messages, request, self.rejected)

    def make_publisher(self) -> Publisher:
        """See `BrokerConnector.make_publisher`."""
        return NatsPublisher(self.config, self._secrets)

    def open_consumer(self, request: ConsumeRequest) -> MessageSource:
        """Messages of a stream, or of `stream/subject`.

        Raises:
            EntityGone: there is no such stream.
        """
        return NatsSource(self.config, self._secrets, request)

    def _open(self) -> NatsLink:
        if self._link is None or not self._link.is_connected:
            if self._link is not None:
                self._link.close()
            self._link = NatsLink(self.config, self._secrets, purpose=self.context.purpose or "read")
        return self._link


async def _list_streams(link: NatsLink) -> list[Any]:
    found: list[Any] = []
    while len(found) < STREAMS_MOST:
        page = await link.stream.streams_info(offset=len(found))
        if not page:
            break
        found += page
    return found
