"""Publishing with the idempotent producer: every replica in sync has the message before it counts."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, errors

from apps.connectors.catalog.kafka.link import KafkaLink
from apps.connectors.contracts import OutgoingMessage
from apps.connectors.messaging.settings import Destination
from apps.connectors.messaging.writer import Publisher
from apps.core.exceptions import PortalError

TOPIC = re.compile(r"^[A-Za-z0-9._-]{1,249}\Z")
MESSAGE_ID, CONTENT_TYPE = "message-id", "content-type"
PUBLISH_S = 120.0
TOPICS_MOST = 100


class KafkaPublisher(Publisher):
    """One idempotent producer."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Keep the settings; the producer starts with the first message."""
        self._config, self._secrets = config, secrets
        self._link: KafkaLink | None = None
        self._producer: AIOKafkaProducer | None = None

    def check_address(self, address: str) -> str:
        """A topic has letters, digits, dots, underscores and hyphens."""
        if not TOPIC.match(address) or address in {".", ".."}:
            return f"{address[:80]!r} is no topic: letters, digits, dots, underscores and hyphens."
        return ""

    def publish(self, destination: Destination, messages: Sequence[OutgoingMessage]) -> Mapping[int, str]:
        """Send all and wait for the acknowledgement of each."""
        if self._link is None:
            self._link = KafkaLink(self._config, self._secrets)
        try:
            if self._producer is None:
                self._producer = self._link.call(self._start(self._link))
            return self._link.call(
                self._publish(self._producer, messages), what=messages[0].address, timeout_s=PUBLISH_S
            )
        except BaseException:
            self.close()  # a producer that has failed may not go on with its numbers
            raise

    def close(self) -> None:
        """Leave. Safe to repeat."""
        link, self._link = self._link, None
        producer, self._producer = self._producer, None
        if link is None:
            return
        if producer is not None:
            with contextlib.suppress(PortalError):
                link.call(producer.stop(), timeout_s=5)
        link.close()

    async def _start(self, link: KafkaLink) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(acks="all", enable_idempotence=True, linger_ms=5, **link.options)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _publish(self, producer: AIOKafkaProducer, messages: Sequence[OutgoingMessage]) -> dict[int, str]:
        faults: dict[int, str] = {}
        for topic in sorted({one.address for one in messages})[:TOPICS_MOST]:
            # A topic that does not exist would be asked for again and again until the time is over.
            if not await producer.partitions_for(topic):
                raise errors.UnknownTopicOrPartitionError(topic)
        waiting = {}
        for index, one in enumerate(messages):
            headers = {MESSAGE_ID: one.message_id, CONTENT_TYPE: one.content_type, **one.headers}
            try:
                waiting[index] = await producer.send(
                    one.address,
                    one.body,
                    key=one.key.encode() if one.key else None,
                    headers=[(name, value.encode()) for name, value in headers.items()],
                )
            except errors.MessageSizeTooLargeError:
                faults[index] = "The message is larger than the cluster takes."
        done = await asyncio.gather(*waiting.values(), return_exceptions=True)
        for index, result in zip(waiting, done, strict=True):
            if isinstance(result, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
                faults[index] = f"The cluster refused it: {result}"
            elif isinstance(result, BaseException):
                raise result
        return faults
