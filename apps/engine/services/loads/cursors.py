"""Which range an incremental load reads, and what the next one starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.base import ConnectorBase
from apps.connectors.choices import Aggregate
from apps.connectors.contracts import Control, CursorRange, EntitySchema, StatsRequest, Watermark
from apps.engine.exceptions import CursorBackwards, CursorMissing
from apps.integrations.contracts import LoadPolicy

TIME_TYPES = ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "DATE")
CursorValue = Decimal | datetime | str


@dataclass(frozen=True)
class CursorDecision:
    """What `load/open` decided about the cursor.

    Attributes:
        range: rows to read.
        next: state for the checkpoint; its value may still be None when only the read itself can tell.
        notes: sentences for the run's log.
    """

    range: CursorRange
    next: dict[str, Any]
    notes: tuple[str, ...] = ()


def decide_cursor(
    connector: ConnectorBase,
    schema: EntitySchema,
    policy: LoadPolicy,
    *,
    stored: Mapping[str, Any] | None,
    since: str | None,
    appends: bool,
) -> CursorDecision:
    """Decide the range of an incremental load.

    The lower end is `since`, else the stored value less the look-back. The upper end is the source's watermark, which
    keeps clear of rows whose transactions are still open (late-commit guard); such rows belong to the next run.

    Args:
        connector, schema: the source.
        policy: the flow's load policy; `cursor` names the column.
        stored: {column, value, snapshot} of the last checkpoint, None before the first.
        since: start given by a person; the stored value is then not looked at.
        appends: the target adds rows without a key, so nothing may be read twice.

    Raises:
        CursorMissing: the column is gone.
        CursorBackwards: the source's highest value is below the stored one.
    """
    column = policy.cursor or ""
    known = schema.find_field(column)
    if known is None:
        raise CursorMissing(f"The source has no column {column!r} to follow.", field="load.cursor", value=column)
    notes: list[str] = []
    state = stored if stored and stored.get("column") == column and stored.get("value") is not None else None
    if stored and state is None and stored.get("value") is not None:
        notes.append(f"The cursor changed from {stored.get('column')} to {column}; this run reads from the start.")
    watermark = Watermark(value=None)
    guarded = policy.late_commit_guard and connector.capabilities.watermark
    if guarded:
        watermark = connector.watermark(schema.name, column)
        if watermark.note:
            notes.append(watermark.note)
    elif policy.late_commit_guard:
        notes.append(
            f"{connector.manifest.name} cannot tell open transactions; rows that commit late need a look-back."
        )
    lower = since or (str(state["value"]) if state else None)
    if state and not since:
        _refuse_backwards(connector, schema, column, known.type, str(state["value"]), watermark)
        if policy.lookback_s and appends:
            notes.append("The target only adds rows, so the look-back is not applied: it would add rows twice.")
        elif policy.lookback_s:
            lower = shift_back(str(state["value"]), known.type, policy.lookback_s)
    range_ = CursorRange(
        column=column,
        lower=lower,
        upper=watermark.value,
        # Without a watermark the stored value is a row that was read: reading it again is only safe with a key.
        lower_inclusive=bool(since) or guarded or not appends,
        upper_inclusive=watermark.upper_inclusive,
        since_snapshot=(state or {}).get("snapshot") if not since else None,
        include_null=lower is None,
    )
    next_state = {
        "column": column,
        "type": known.type,
        "value": watermark.value or (state or {}).get("value"),
        "snapshot": watermark.snapshot,
        "guarded": guarded,
    }
    return CursorDecision(range_, next_state, tuple(notes))


def _refuse_backwards(
    connector: ConnectorBase, schema: EntitySchema, column: str, type_: str, stored: str, watermark: Watermark
) -> None:
    """Compare with the source's present maximum: a watermark alone may lawfully be held back by an open transaction."""
    if watermark.value is not None and compare(watermark.value, stored, type_) >= 0:
        return
    if not connector.capabilities.stats:
        return
    control = Control("max", Aggregate.MAX, column=column)
    highest = connector.stats(StatsRequest(schema.name, (control,))).get("max")
    if highest is not None and compare(highest, stored, type_) < 0:
        raise CursorBackwards(
            f"The source's highest {column} is {highest}, but rows up to {stored} were loaded before.",
            field="load.cursor",
            value=highest,
            stored=stored,
        )


def parse(value: str, type_: str) -> CursorValue:
    """A cursor's canonical text as something comparable; text columns compare as text."""
    if type_.upper().startswith(TIME_TYPES):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = datetime.combine(date.fromisoformat(value), datetime.min.time())
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if type_.upper().startswith(("VARCHAR", "UUID")):
        return value
    try:
        return Decimal(value)
    except InvalidOperation:
        return value


def compare(left: str, right: str, type_: str) -> int:
    """-1, 0 or 1, by the column's own order."""
    first, second = parse(left, type_), parse(right, type_)
    if isinstance(first, str) or isinstance(second, str):
        first, second = left, right
    return (first > second) - (first < second)  # type: ignore[operator]


def shift_back(value: str, type_: str, seconds: int) -> str:
    """The value less the look-back: seconds for times, units for numbers, days (rounded up) for dates."""
    parsed = parse(value, type_)
    if isinstance(parsed, datetime):
        if type_.upper() == "DATE":
            return (parsed - timedelta(days=-(-seconds // 86_400))).date().isoformat()
        shifted = parsed - timedelta(seconds=seconds)
        zoned = datetime.fromisoformat(value).tzinfo is not None
        return (shifted if zoned else shifted.replace(tzinfo=None)).isoformat()
    if isinstance(parsed, Decimal):
        return format(parsed - seconds, "f")
    return value


def highest_of(batch: pa.RecordBatch, column: str, present: str | None, type_: str) -> str | None:
    """The larger of `present` and the batch's highest cursor value, as canonical text."""
    place = batch.schema.get_field_index(column)
    if place < 0:
        return present
    found = pc.max(batch.column(place)).as_py()
    if found is None:
        return present
    text = found.isoformat() if isinstance(found, date) else str(found)
    return text if present is None or compare(text, present, type_) > 0 else present
