"""Publishing with publisher confirms: many messages on their way, each confirmed, returned or refused by the broker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import amqp

from apps.connectors.catalog.amqp.link import ANSWER_S, close_link, open_link, translated
from apps.connectors.contracts import OutgoingMessage
from apps.connectors.exceptions import SystemUnavailable
from apps.connectors.messaging.settings import Destination
from apps.connectors.messaging.writer import Publisher

PERSISTENT = 2
MAX_ADDRESS_BYTES = 255


class AmqpPublisher(Publisher):
    """One connection with one channel in confirm mode."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Keep the settings; the connection is opened with the first message."""
        self._config, self._secrets = config, secrets
        self._connection: amqp.Connection | None = None

    def check_address(self, address: str) -> str:
        """A routing key has at most 255 bytes."""
        if len(address.encode()) > MAX_ADDRESS_BYTES:
            return f"A routing key has at most {MAX_ADDRESS_BYTES} bytes."
        return ""

    def publish(self, destination: Destination, messages: Sequence[OutgoingMessage]) -> Mapping[int, str]:
        """Send all, then wait for the broker's word on each; mandatory, so that what no queue takes is refused."""
        what = destination.exchange or messages[0].address
        if self._connection is None or not self._connection.connected:
            self._connection = open_link(self._config, self._secrets, purpose="publish")
        try:
            with translated(what):
                return self._publish(self._connection, destination, messages)
        except BaseException:
            self.close()  # answers that are still on their way must not count for other messages
            raise

    def close(self) -> None:
        """Leave. Safe to repeat."""
        found, self._connection = self._connection, None
        if found is not None:
            close_link(found)

    def _publish(
        self, connection: amqp.Connection, destination: Destination, messages: Sequence[OutgoingMessage]
    ) -> dict[int, str]:
        channel = connection.channel()
        channel.confirm_select()
        waiting = set(range(len(messages)))
        faults: dict[int, str] = {}
        by_id: dict[str, list[int]] = {}
        for index, one in enumerate(messages):
            by_id.setdefault(one.message_id, []).append(index)

        def settled(tag: int, multiple: bool, reason: str = "") -> None:
            for index in [one for one in waiting if one < tag] if multiple else [tag - 1]:
                waiting.discard(index)
                if reason:
                    faults.setdefault(index, reason)

        def returned(error: Exception, _exchange: str, routing_key: str, message: Any) -> None:
            if same := by_id.get(message.properties.get("message_id", "")):
                faults[same.pop(0)] = (
                    f"No queue takes messages for {routing_key!r}: {getattr(error, 'reply_text', error)}."
                )

        channel.events["basic_ack"].add(settled)
        channel.events["basic_nack"].add(lambda tag, multiple: settled(tag, multiple, "The broker refused it."))
        channel.events["basic_return"].add(returned)
        for one in messages:
            channel.basic_publish(_to_wire(one), destination.exchange, one.address, mandatory=True)
        deadline = time.monotonic() + ANSWER_S
        while waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SystemUnavailable(f"The broker confirmed {len(waiting)} messages not within {ANSWER_S:g} s.")
            try:
                connection.drain_events(timeout=left)
            except TimeoutError:
                continue
        channel.close()
        return faults


def _to_wire(message: OutgoingMessage) -> amqp.Message:
    return amqp.Message(
        message.body,
        content_type=message.content_type,
        content_encoding="utf-8",
        message_id=message.message_id,
        delivery_mode=PERSISTENT,
        application_headers=dict(message.headers),
    )
