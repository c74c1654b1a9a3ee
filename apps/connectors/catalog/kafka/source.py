"""Consuming a topic with the offsets of a group of the consumer's own, and reading it as a table.

The portal's lease decides who consumes, so nobody joins the group: all partitions are assigned at once, without the
seconds of a rebalance, and the group only keeps the offsets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient

from apps.connectors.base import MessageSource
from apps.connectors.catalog.kafka.link import ANSWER_S, KafkaLink
from apps.connectors.catalog.kafka.publisher import CONTENT_TYPE, MESSAGE_ID
from apps.connectors.contracts import ConsumeRequest, IncomingMessage
from apps.connectors.exceptions import SystemUnavailable
from apps.core.exceptions import PortalError

PARTITION_BITS = 40
FETCH = 500


class KafkaSource(MessageSource):
    """All partitions of a topic; the cluster keeps the offsets, which follow the commits here."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], request: ConsumeRequest) -> None:
        """Connect and go where the group's offsets are.

        Raises:
            EntityGone: there is no such topic; and what `KafkaLink` raises.
        """
        self._topic = request.source
        self._link = KafkaLink(config, secrets)
        self._consumer: AIOKafkaConsumer | None = None
        try:
            self._consumer = self._link.call(self._start(request), what=self._topic)
        except BaseException:
            self.close()
            raise

    def receive(self, limit: int, *, wait_s: float) -> list[IncomingMessage]:
        """What the fetcher has, at most `limit`, in the order of each partition."""
        found = self._link.call(
            self._opened.getmany(timeout_ms=int(wait_s * 1000), max_records=limit),
            what=self._topic,
            timeout_s=wait_s + ANSWER_S,
        )
        return [to_message(record) for records in found.values() for record in records]

    def acknowledge(self, messages: Sequence[IncomingMessage]) -> None:
        """Commit the offsets after the last message of each partition."""
        after: dict[TopicPartition, int] = {}
        for one in messages:
            partition, offset = one.handle
            after[partition] = max(after.get(partition, 0), offset + 1)
        self._link.call(self._opened.commit(after), what=self._topic)

    def lag(self) -> int | None:
        """Messages after the place of this consumer; looks for new partitions on the way."""
        return self._link.call(self._measure(), what=self._topic)

    def close(self) -> None:
        """Leave; the committed offsets stay. Safe to repeat."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(PortalError):
                self._link.call(consumer.stop(), timeout_s=10)
        self._link.close()

    @property
    def _opened(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise SystemUnavailable("The consumer is closed.")
        return self._consumer

    async def _start(self, request: ConsumeRequest) -> AIOKafkaConsumer:
        partitions = await find_partitions(self._link, self._topic)
        consumer = AIOKafkaConsumer(
            group_id=request.name,
            enable_auto_commit=False,
            # Where retention has removed what comes next: what is left, rather than an end without a word.
            auto_offset_reset="earliest",
            max_poll_records=request.prefetch,
            **self._link.options,
        )
        try:
            await consumer.start()
            await _begin(consumer, partitions, from_start=request.from_start)
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _measure(self) -> int:
        consumer = self._opened
        assigned = consumer.assignment()
        if len(await find_partitions(self._link, self._topic)) != len(assigned):
            raise errors.StaleMetadata(f"{self._topic} has other partitions now")
        ends = await consumer.end_offsets(list(assigned))
        places = {one: await consumer.position(one) for one in assigned}
        return sum(max(end - places[one], 0) for one, end in ends.items())


async def _begin(consumer: AIOKafkaConsumer, partitions: list[TopicPartition], *, from_start: bool) -> None:
    """Begin in every partition where the group has stopped.

    A first start commits its offsets at once: a later one would otherwise begin at another end. A partition that the
    group does not know, while it knows others, was added meanwhile and is read from its beginning.
    """
    consumer.assign(partitions)
    places = {one: await consumer.committed(one) for one in partitions}
    unknown = [one for one, offset in places.items() if offset is None]
    if unknown:
        at_the_end = len(unknown) == len(partitions) and not from_start
        places |= await (consumer.end_offsets(unknown) if at_the_end else consumer.beginning_offsets(unknown))
    for one, offset in places.items():
        consumer.seek(one, offset)
    if unknown:
        await consumer.commit({one: places[one] for one in unknown})


async def find_partitions(link: KafkaLink, topic: str) -> list[TopicPartition]:
    """Partitions of a topic; asking does not make it.

    Raises:
        UnknownTopicOrPartitionError: it is not there.
    """
    count = (await list_topics(link)).get(topic)
    if count is None:
        raise errors.UnknownTopicOrPartitionError(topic)
    return [TopicPartition(topic, one) for one in range(count)]


async def list_topics(link: KafkaLink) -> dict[str, int]:
    """Topics that the user may see, with their numbers of partitions."""
    admin = AIOKafkaAdminClient(**link.options)
    try:
        await admin.start()
        return {str(one["topic"]): len(one["partitions"]) for one in await admin.describe_topics()}
    finally:
        await admin.close()


def read_topic(link: KafkaLink, topic: str) -> Iterator[tuple[int, IncomingMessage]]:
    """Messages of a topic that are there now, partition by partition, with a position made of partition and offset.

    Raises:
        EntityGone: there is no such topic.
    """

    async def begin() -> tuple[AIOKafkaConsumer, dict[TopicPartition, int]]:
        partitions = await find_partitions(link, topic)
        consumer = AIOKafkaConsumer(enable_auto_commit=False, **link.options)
        try:
            await consumer.start()
            consumer.assign(partitions)
            starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            left = {one: ends[one] for one in partitions if ends[one] > starts[one]}
            consumer.assign(list(left))
            for one in left:
                consumer.seek(one, starts[one])
        except BaseException:
            await consumer.stop()
            raise
        return consumer, left

    consumer, left = link.call(begin(), what=topic)
    try:
        for partition, end in left.items():
            done = False
            while not done:
                found = link.call(
                    consumer.getmany(partition, timeout_ms=10_000, max_records=FETCH), what=topic, timeout_s=ANSWER_S
                )
                records = found.get(partition, [])
                if not records:
                    # Offsets may be missing at the end (transaction markers, compaction): then nothing more is there.
                    done = link.call(consumer.position(partition), what=topic) >= end
                    if not done:
                        raise SystemUnavailable(f"{topic} gave no more messages before its end.", value=topic)
                for record in records:
                    if record.offset >= end:
                        done = True
                        break
                    yield partition.partition << PARTITION_BITS | record.offset, to_message(record)
                    done = record.offset + 1 >= end
    finally:
        with contextlib.suppress(PortalError):
            link.call(consumer.stop(), timeout_s=10)


def to_message(record: ConsumerRecord) -> IncomingMessage:
    """A record of a topic as every connector gives it."""
    headers = {str(name): value.decode("utf-8", "replace") for name, value in record.headers or () if value is not None}
    place = TopicPartition(record.topic, record.partition)
    return IncomingMessage(
        body=record.value or b"",
        source=record.topic,
        message_id=headers.pop(MESSAGE_ID, "") or headers.get("ce_id", ""),
        position=f"{record.topic}/{record.partition}/{record.offset}",
        key=(record.key or b"").decode("utf-8", "replace"),
        headers=headers,
        content_type=headers.pop(CONTENT_TYPE, ""),
        sent_at=datetime.fromtimestamp(record.timestamp / 1000, UTC) if record.timestamp >= 0 else None,
        handle=(place, record.offset),
    )
