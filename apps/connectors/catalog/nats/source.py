"""Consuming a stream by a durable pull consumer, and reading it as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from apps.connectors.base import MessageSource
from apps.connectors.catalog.nats.link import NatsLink, split_source
from apps.connectors.contracts import ConsumeRequest, IncomingMessage
from apps.connectors.exceptions import SystemUnavailable

ACK_WAIT_S = 60.0
GATHER_S = 0.05
LEAVE_AFTER_S = 30.0
FORGOTTEN_AFTER_S = 30 * 86_400.0
FETCH = 500


class NatsSource(MessageSource):
    """A durable consumer: the server keeps its position, and hands out again what was not acknowledged in a minute."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], request: ConsumeRequest) -> None:
        """Connect, and make the durable consumer if the server has none of this name.

        Raises:
            EntityGone: there is no such stream; and what `NatsLink` raises.
        """
        self._stream, self._subject = split_source(request.source)
        self._request = request
        self._link = NatsLink(config, secrets, purpose=f"consume {request.name}")
        try:
            self._pull: JetStreamContext.PullSubscription = self._call(self._subscribe())
        except BaseException:
            self.close()
            raise

    def receive(self, limit: int, *, wait_s: float) -> list[IncomingMessage]:
        """Wait for the first message, then take what is there besides."""
        found = self._call(_fetch(self._pull, limit, wait_s), timeout_s=wait_s + 10)
        if not found and not self._link.is_connected:
            raise SystemUnavailable(f"The connection to {self._link.where} is lost.")
        return [to_message(one) for one in found]

    def acknowledge(self, messages: Sequence[IncomingMessage]) -> None:
        """Each by itself, then one round trip that shows that the server has them."""
        self._call(self._acknowledge(messages))

    def lag(self) -> int | None:
        """Messages of the stream that were not handed over yet."""
        return int(self._call(self._pull.consumer_info()).num_pending or 0)

    def close(self) -> None:
        """Leave; the durable consumer stays at the server."""
        self._link.close()

    def _call(self, work: Any, **options: Any) -> Any:
        return self._link.call(work, what=self._request.source, **options)

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        stream, name = self._link.stream, self._request.name
        try:
            await stream.consumer_info(self._stream, name)
        except nats.js.errors.NotFoundError:
            policy = api.DeliverPolicy.ALL if self._request.from_start else api.DeliverPolicy.NEW
            settings = api.ConsumerConfig(
                durable_name=name,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                deliver_policy=policy,
                filter_subject=self._subject or None,
                max_ack_pending=self._request.prefetch,
                inactive_threshold=FORGOTTEN_AFTER_S,
            )
            await stream.add_consumer(self._stream, settings)
        return await stream.pull_subscribe_bind(consumer=name, stream=self._stream)

    async def _acknowledge(self, messages: Sequence[IncomingMessage]) -> None:
        for one in messages:
            await one.handle.ack()
        await self._link.client.flush(10)


def read_stream(link: NatsLink, source: str, start: int | None) -> Iterator[tuple[int, IncomingMessage]]:
    """Messages of a stream up to the last one that is there now, by sequence; nothing is taken away.

    Raises:
        EntityGone: there is no such stream.
    """
    stream, subject = split_source(source)

    async def begin() -> tuple[JetStreamContext.PullSubscription, int, int]:
        last = (await link.stream.stream_info(stream)).state.last_seq
        settings = api.ConsumerConfig(
            ack_policy=api.AckPolicy.NONE,
            deliver_policy=api.DeliverPolicy.ALL if start is None else api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start,
            filter_subject=subject or None,
            inactive_threshold=LEAVE_AFTER_S,
            mem_storage=True,
        )
        made = await link.stream.add_consumer(stream, settings)
        pull = await link.stream.pull_subscribe_bind(consumer=made.name, stream=stream)
        return pull, last, int(made.num_pending or 0)

    pull, last, pending = link.call(begin(), what=source)
    while pending:
        found = link.call(_fetch(pull, FETCH, 5.0), what=source, timeout_s=20)
        if not found:
            raise SystemUnavailable(f"{source} gave no more messages, though {pending} are left.", value=source)
        for one in found:
            sequence = int(one.metadata.sequence.stream)
            if sequence > last:
                return
            yield sequence, to_message(one)
        pending = found[-1].metadata.num_pending


def to_message(given: Msg) -> IncomingMessage:
    """A message of a stream as every connector gives it."""
    headers = dict(given.headers or {})
    facts = given.metadata
    return IncomingMessage(
        body=given.data,
        source=given.subject,
        message_id=headers.pop("Nats-Msg-Id", ""),
        position=f"{facts.stream}:{facts.sequence.stream}",
        headers=headers,
        content_type=headers.pop("Content-Type", ""),
        sent_at=facts.timestamp,
        handle=given,
    )


async def _fetch(pull: JetStreamContext.PullSubscription, limit: int, wait_s: float) -> list[Msg]:
    found: list[Msg] = []
    try:
        found += await pull.fetch(1, timeout=wait_s)
        if limit > 1:
            found += await pull.fetch(limit - 1, timeout=GATHER_S)
    except nats.errors.TimeoutError:
        return found
    return found
