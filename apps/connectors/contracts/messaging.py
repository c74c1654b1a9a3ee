"""Messages on their way to and from brokers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.connectors.contracts.reading import EntitySchema


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message to publish.

    Attributes:
        row: lineage id of the record it was made of.
        address: routing key, subject or topic.
        body: as it is sent.
        message_id: the same in every attempt, so that brokers and consumers can drop repeats.
        content_type: of the body.
        key: what keeps an order (partition key); empty without one.
        headers: further headers.
    """

    row: int
    address: str
    body: bytes
    message_id: str
    content_type: str
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConsumeRequest:
    """What to consume.

    Attributes:
        source: queue, `stream` or `stream/subject`, topic, or topic filter.
        name: of this consumer at the broker (group, durable, session); never changed, since the position hangs on it.
        from_start: whether a consumer that the broker does not know yet gets what is there already.
        prefetch: messages that may be on their way without being acknowledged.
    """

    source: str
    name: str
    from_start: bool = False
    prefetch: int = 100


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """One message that a broker handed over.

    Attributes:
        body: as it came.
        source: routing key, subject or topic.
        message_id: the sender's id; empty when it gave none.
        position: place in the broker's log (`ORDERS:17`, `orders/0/42`); empty where there is no log.
        key: partition key; empty without one.
        headers: text values only.
        content_type: as the sender said; may be empty.
        sent_at: by the sender's or the broker's clock, where known.
        handle: what the connector needs to acknowledge it.
    """

    body: bytes
    source: str
    message_id: str = ""
    position: str = ""
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    sent_at: datetime | None = None
    handle: Any = field(default=None, repr=False, compare=False)


def message_schema(entity: str) -> EntitySchema:
    """The columns in which messages of a queue or log are read."""
    return EntitySchema.of(
        entity,
        [
            ("position", "BIGINT", False),
            ("source", "VARCHAR", False),
            ("message_id", "VARCHAR"),
            ("key", "VARCHAR"),
            ("sent_at", "TIMESTAMPTZ"),
            ("content_type", "VARCHAR"),
            ("headers", "VARCHAR"),
            ("body", "VARCHAR"),
        ],
        keys=("position",),
    )
