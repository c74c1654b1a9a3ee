"""Consuming a queue: messages stay with the broker until they are acknowledged."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from apps.connectors.base import MessageSource
from apps.connectors.catalog.amqp.link import ANSWER_S, HEARTBEAT_S, close_link, open_link, translated
from apps.connectors.contracts import ConsumeRequest, IncomingMessage

GATHER_S = 0.01


class AmqpSource(MessageSource):
    """One connection that consumes one queue."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], request: ConsumeRequest) -> None:
        """Connect and begin to consume.

        Raises:
            EntityGone: there is no such queue; and what `open_link` raises.
        """
        self._queue = request.source
        self._arrived: deque[IncomingMessage] = deque()
        self._connection = open_link(config, secrets, purpose=f"consume {request.name}", heartbeat_s=HEARTBEAT_S)
        try:
            with translated(self._queue):
                self._channel = self._connection.channel()
                self._channel.basic_qos(0, request.prefetch, False)
                self._channel.basic_consume(self._queue, callback=self._take)
        except BaseException:
            self.close()
            raise

    def receive(self, limit: int, *, wait_s: float) -> list[IncomingMessage]:
        """Wait for the first message, then take what comes along with it."""
        deadline = time.monotonic() + wait_s
        with translated(self._queue):
            self._connection.heartbeat_tick()
            while len(self._arrived) < limit:
                left = GATHER_S if self._arrived else deadline - time.monotonic()
                if left <= 0:
                    break
                try:
                    self._connection.drain_events(timeout=left)
                except TimeoutError:
                    break
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    def acknowledge(self, messages: Sequence[IncomingMessage]) -> None:
        """One word for the whole batch: batches are taken and kept in the order of their tags."""
        with translated(self._queue):
            self._channel.basic_ack(messages[-1].handle, multiple=True)

    def lag(self) -> int | None:
        """Messages that are ready in the queue."""
        with translated(self._queue):
            self._connection.transport.sock.settimeout(ANSWER_S)
            return int(self._channel.queue_declare(self._queue, passive=True).message_count)

    def close(self) -> None:
        """Leave; the broker hands what was not acknowledged to the next consumer."""
        close_link(self._connection)

    def _take(self, message: Any) -> None:
        properties = message.properties
        body = message.body
        sent = properties.get("timestamp")
        headers = properties.get("application_headers") or {}
        self._arrived.append(
            IncomingMessage(
                body=body.encode() if isinstance(body, str) else bytes(body),
                source=str(message.delivery_info["routing_key"]),
                message_id=str(properties.get("message_id") or headers.get("cloudEvents:id") or ""),
                headers={str(name): str(value) for name, value in headers.items() if isinstance(value, str | int)},
                content_type=str(properties.get("content_type") or ""),
                sent_at=_to_time(sent),
                handle=message.delivery_info["delivery_tag"],
            )
        )


def _to_time(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        return datetime.fromtimestamp(int(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
