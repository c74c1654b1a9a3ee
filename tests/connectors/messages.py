"""What the tests of brokers share: a connector that is connected, records to publish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa

from apps.connectors.base import ConnectorBase
from apps.connectors.choices import Disposition
from apps.connectors.contracts import (
    ROW_ID,
    ConnectionContext,
    ConsumeRequest,
    EntitySchema,
    IncomingMessage,
    StagedPart,
    WriteRequest,
)
from apps.connectors.registries import connector_registry
from tests.brokers import PASSWORD, USER, Broker

FIELDS = [("id", "BIGINT", False), ("total", "DECIMAL(18,2)"), ("country", "VARCHAR")]


def settings_of(broker: Broker, **changes: Any) -> dict[str, Any]:
    """Settings with which a connector reaches the broker."""
    return {"host": "127.0.0.1", "port": broker.port, "user": USER, "tls_mode": "disable", **changes}


@contextmanager
def connected(
    kind: str, config: Mapping[str, Any], secrets: Mapping[str, str] | None = None
) -> Iterator[ConnectorBase]:
    """A connector of a kind."""
    with connector_registry.get(kind).create(ConnectionContext(purpose="test")) as connector:
        connector.connect(config, {"password": PASSWORD} if secrets is None else secrets)
        yield connector


def publish(
    connector: ConnectorBase,
    entity: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    run_id: UUID | None = None,
    fields: Sequence[tuple[Any, ...]] = FIELDS,
) -> StagedPart:
    """Publish rows as a load does."""
    schema = EntitySchema.of(entity, fields)
    writer = connector.open_writer(WriteRequest(entity, schema, run_id or uuid4(), Disposition.APPEND))
    table = pa.Table.from_pylist([{**row, ROW_ID: number} for number, row in enumerate(rows)])
    part = writer.stage(table.to_batches(), part="p0")
    result = writer.finish([part], allow_empty=True, marker="test")
    assert result.rows == part.rows
    return part


def take(
    connector: ConnectorBase, source: str, count: int, *, name: str = "test", wait_s: float = 5, **options: Any
) -> list[Any]:
    """Consume and acknowledge that many messages."""
    found: list[IncomingMessage] = []
    with connector.open_consumer(ConsumeRequest(source, name, **options)) as messages:
        for _attempt in range(100):
            batch = messages.receive(count - len(found), wait_s=wait_s)
            if not batch:
                break
            messages.acknowledge(batch)
            found += batch
            if len(found) >= count:
                break
    return found
