"""Reads a broker's log as a table: fixed columns, bounded batches, unreadable bodies rejected with their reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from apps.connectors.contracts import (
    SOURCE_POSITION,
    CursorRange,
    IncomingMessage,
    ReadRequest,
    RejectedRecord,
    message_schema,
)
from apps.connectors.exceptions import ColumnGone, ConfigInvalid
from apps.expressions.contracts import Field, Schema

MAX_REJECTED = 10_000
CURSOR = "position"


def read_batches(
    messages: Iterable[tuple[int, IncomingMessage]], request: ReadRequest, rejected: list[RejectedRecord]
) -> Iterator[pa.RecordBatch]:
    """Messages with their positions as batches of the wanted columns.

    Raises:
        ColumnGone: a wanted column is none of `message_schema`.
    """
    described = message_schema(request.entity)
    wanted = request.columns or described.names
    fields = []
    for name in wanted:
        column = described.find_field(name)
        if column is None:
            raise ColumnGone(f"Messages have no field {name!r}.", field=name, value=name)
        fields.append(Field(column.name, column.type))
    schema = pa.schema([*Schema(tuple(fields)).to_arrow(), pa.field(SOURCE_POSITION, pa.int64(), nullable=False)])
    rows: list[dict[str, Any]] = []
    given = 0
    for position, message in messages:
        if request.limit is not None and given >= request.limit:
            break
        if not is_within(position, request.cursor):
            continue
        given += 1
        try:
            body = message.body.decode()
        except UnicodeDecodeError:
            if len(rejected) < MAX_REJECTED:
                facts = {"source": message.source, "message_id": message.message_id}
                rejected.append(RejectedRecord(position, "connectors.body_unreadable", "The body is not UTF-8.", facts))
            continue
        row = {
            "position": position,
            "source": message.source,
            "message_id": message.message_id or None,
            "key": message.key or None,
            "sent_at": message.sent_at,
            "content_type": message.content_type or None,
            "headers": json.dumps(dict(message.headers), ensure_ascii=False) if message.headers else None,
            "body": body,
        }
        rows.append({**{name: row[name] for name in wanted}, SOURCE_POSITION: position})
        if len(rows) >= request.batch_rows:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)
            rows = []
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def first_position(cursor: CursorRange | None) -> int | None:
    """The lowest position of a range, so that the broker starts there.

    Raises:
        ConfigInvalid: messages are read by position only.
    """
    if cursor is not None and cursor.column != CURSOR:
        raise ConfigInvalid(f"Messages are read by {CURSOR}, not by {cursor.column}.", field="cursor")
    return int(cursor.lower) if cursor is not None and cursor.lower is not None else None


def is_within(position: int, cursor: CursorRange | None) -> bool:
    """Whether a position belongs to the range."""
    if cursor is None:
        return True
    if cursor.lower is not None and position < int(cursor.lower) + (not cursor.lower_inclusive):
        return False
    return cursor.upper is None or position < int(cursor.upper) + cursor.upper_inclusive
