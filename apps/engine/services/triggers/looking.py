"""One look of a poll at its system: what is new there since the stored position. Runs outside of any transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from apps.connectors.base import ConnectorBase
from apps.connectors.choices import Aggregate
from apps.connectors.contracts import Control, CursorRange, EntitySchema, QueryRequest, ReadRequest, StatsRequest
from apps.connectors.contracts.reading import SOURCE_POSITION
from apps.connectors.services.sessions import open_connection
from apps.engine.exceptions import (
    CursorBackwards,
    CursorMissing,
    PollCursorUnfit,
    PollTimeout,
    PollTooMany,
    RowsInvalid,
)
from apps.engine.services.loads.cursors import compare, decide_cursor
from apps.engine.services.triggers.polls import PollSettings
from apps.engine.services.triggers.positions import Position, Row, cursor_text, type_of
from apps.integrations.contracts import LoadPolicy

POLL_S = 60.0
ROWS_MOST = 5_000
READ_ROWS = 1_000


def look(connection_id: UUID, settings: PollSettings, position: Position | None) -> tuple[list[Row], Position]:
    """New rows by rising cursor, and the position after them. The first look without a start finds none.

    Raises:
        CursorMissing, PollCursorUnfit, PollCursorCoarse: the column cannot be followed.
        PollTooMany: more rows are new than a poll hands out; the position stays.
        PollTimeout: the system took too long.
        RowsInvalid: a row cannot be read.
        EgressDenied, SystemUnavailable, CredentialsRefused and whatever else the connector says.
    """
    deadline = time.monotonic() + POLL_S
    with open_connection(connection_id, "read", time_limit_s=POLL_S) as connector:
        if settings.query:
            return _ask(connector, settings, position, deadline)
        return _read(connector, settings, position, deadline)


def _ask(
    connector: ConnectorBase, settings: PollSettings, position: Position | None, deadline: float
) -> tuple[list[Row], Position]:
    since = (position.value if position else None) or settings.start
    request = QueryRequest(settings.query, parameters={"position": since}, limit=ROWS_MOST + 1, batch_rows=READ_ROWS)
    rows = _collect(connector, connector.query(request), settings.cursor, deadline)
    if position is None:
        position = Position(settings.cursor)
    if rows:
        first = next((row[settings.cursor] for row in rows if row[settings.cursor] is not None), None)
        position = replace(position, type=position.type if first is None else type_of(first))
    return position.take(rows, ())


def _read(
    connector: ConnectorBase, settings: PollSettings, position: Position | None, deadline: float
) -> tuple[list[Row], Position]:
    schema = connector.describe(settings.entity)
    known = schema.find_field(settings.cursor)
    if known is None:
        raise CursorMissing(
            f"{settings.entity} has no column {settings.cursor!r}.", field="poll.cursor", value=settings.cursor
        )
    if known.type.upper().startswith("VARCHAR"):
        raise PollCursorUnfit(
            f"{settings.cursor} holds text, and systems order text in different ways.", field="poll.cursor"
        )
    if position is None and not settings.start:
        return [], _begin(connector, schema, settings.cursor, known.type, deadline)
    if position is None:
        position = Position(settings.cursor, type=known.type, value=settings.start, floor=settings.start)
    policy = LoadPolicy(cursor=settings.cursor)
    try:
        decision = decide_cursor(connector, schema, policy, stored=position.state, since=None, appends=False)
    except CursorBackwards:
        return [], position  # the newest rows are gone; nothing is new until others rise above them
    request = ReadRequest(settings.entity, cursor=decision.range, limit=ROWS_MOST + 1, batch_rows=READ_ROWS)
    rows = _collect(connector, connector.read(request), settings.cursor, deadline)
    fresh, after = position.take(rows, schema.keys)
    if decision.next["guarded"]:
        # What lies at or above the watermark is not read yet, whatever was found below it. It never goes back.
        value, snapshot = decision.next["value"], decision.next["snapshot"]
        if position.value is not None and compare(value, position.value, known.type) < 0:
            value, snapshot = position.value, position.snapshot
        after = replace(after, value=value, snapshot=snapshot)
    return fresh, replace(after, type=known.type)


def _begin(connector: ConnectorBase, schema: EntitySchema, column: str, type_: str, deadline: float) -> Position:
    """The position behind everything that is there now."""
    decision = decide_cursor(connector, schema, LoadPolicy(cursor=column), stored=None, since=None, appends=False)
    value, inclusive = decision.next["value"], decision.range.upper_inclusive
    position = Position(column, type=type_, value=value, snapshot=decision.next["snapshot"], floor=value)
    if not decision.next["guarded"]:
        value, inclusive = _highest(connector, schema.name, column, type_, deadline), True
        position = replace(position, value=value, floor=value)
    if value is None or not inclusive:
        return position
    # The highest value is read again by the next look; what has it now is not new then.
    range_ = CursorRange(column, lower=value, upper=value, upper_inclusive=True)
    rows = _collect(
        connector,
        connector.read(ReadRequest(schema.name, cursor=range_, limit=ROWS_MOST + 1, batch_rows=READ_ROWS)),
        column,
        deadline,
    )
    return position.take(rows, schema.keys)[1]


def _highest(connector: ConnectorBase, entity: str, column: str, type_: str, deadline: float) -> str | None:
    if connector.capabilities.stats:
        control = Control("max", Aggregate.MAX, column=column)
        return connector.stats(StatsRequest(entity, (control,))).get("max")
    highest: str | None = None
    for batch in connector.read(ReadRequest(entity, columns=(column,), batch_rows=READ_ROWS)):
        _check_time(deadline)
        for value in batch.column(0).to_pylist():
            text = None if value is None else cursor_text(value)
            if text is not None and (highest is None or compare(text, highest, type_) > 0):
                highest = text
    return highest


def _collect(connector: ConnectorBase, batches: Iterable[Any], column: str, deadline: float) -> list[Row]:
    rows: list[Row] = []
    for batch in batches:
        _check_time(deadline)
        if column not in batch.schema.names:
            raise CursorMissing(f"The rows have no column {column!r}.", field="poll.cursor", value=column)
        rows += batch.drop_columns([name for name in (SOURCE_POSITION,) if name in batch.schema.names]).to_pylist()
        if len(rows) > ROWS_MOST:
            raise PollTooMany(f"More than {ROWS_MOST:,} rows are new.")
    if connector.rejected:
        first = connector.rejected[0]
        raise RowsInvalid(
            f"{len(connector.rejected):,} rows cannot be read; the first is row {first.position + 1}: {first.message}",
            remedy="Correct the rows in the system, or ask a query that leaves them out.",
        )
    return rows


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise PollTimeout(f"The system did not answer within {POLL_S:g} s.")
