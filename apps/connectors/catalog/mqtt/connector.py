"""MQTT 5 brokers: publishes with QoS 1, consumes topic filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from apps.connectors.base import CheckRun, MessageSource
from apps.connectors.catalog.mqtt.link import MqttLink
from apps.connectors.catalog.mqtt.publisher import MqttPublisher
from apps.connectors.catalog.mqtt.source import MqttSource
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
from apps.connectors.exceptions import ConfigInvalid, NotSupported
from apps.connectors.messaging.connector import BrokerConnector
from apps.connectors.messaging.settings import read_destinations
from apps.connectors.messaging.writer import Publisher
from apps.core.services.egress import resolve_target


class MqttConnector(BrokerConnector):
    """Opens a connection for what it is asked."""

    def connect(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """As every broker's.

        Raises:
            ConfigInvalid: a topic filter is malformed, too.
        """
        super().connect(config, secrets)
        for index, topic in enumerate(config.get("topics") or []):
            check_filter(topic, f"config.topics[{index}]")

    def check(self) -> CheckResult:
        """Address and sign-in. MQTT tells rights only when a topic is used."""
        run = CheckRun()

        def address() -> str:
            target = resolve_target(str(self.config["host"]), int(self.config.get("port", 8883)), purpose="check")
            return f"{target.host} is {target.ip}."

        def sign_in() -> str:
            link = MqttLink(self.config, self._secrets)
            link.close()
            return f"Signed in to {link.where}."

        run.step("Address", address)
        run.step("Sign in", sign_in)
        return run.result("The broker takes messages.")

    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """The configured topic filters and destinations: MQTT has no way to list topics."""
        names = {*(self.config.get("topics") or []), *read_destinations(self.config)}
        found = sorted(name for name in names if search.lower() in name.lower())
        rest = [name for name in found if cursor is None or name > cursor]
        page = tuple(EntityRef(name, name, EntityKind.RESOURCE) for name in rest[:limit])
        return EntityPage(page, page[-1].name if len(rest) > limit else None)

    def describe(self, entity: str) -> EntitySchema:
        """The columns of messages: every topic exists as soon as somebody publishes to it."""
        return message_schema(entity)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """A broker of MQTT keeps no log."""
        raise NotSupported(
            "An MQTT broker keeps no messages to read.",
            value=request.entity,
            remedy="Create a consumer, which keeps each message as an event.",
        )

    def make_publisher(self) -> Publisher:
        """See `BrokerConnector.make_publisher`."""
        return MqttPublisher(self.config, self._secrets)

    def open_consumer(self, request: ConsumeRequest) -> MessageSource:
        """Messages of a topic filter.

        Raises:
            ConfigInvalid: the filter is malformed.
        """
        check_filter(request.source, "source")
        return MqttSource(self.config, self._secrets, request)


def check_filter(topic: str, field: str) -> None:
    """Refuse a filter that no broker takes.

    Raises:
        ConfigInvalid: `+` and `#` stand for whole levels, `#` for the last one.
    """
    levels = topic.split("/")
    wrong = any(("+" in one or "#" in one) and len(one) > 1 for one in levels) or "#" in levels[:-1]
    if not topic or wrong or "\x00" in topic:
        raise ConfigInvalid(
            f"{topic!r} is no topic filter: + stands for one whole level, # for all that follow.",
            field=field,
            value=topic,
        )
