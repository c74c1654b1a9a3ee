"""How far a poll has come: which of the rows that were read are new, and what the next poll starts from.

A cursor alone tells neither rows of one value apart nor a row that commits late from an old one that was changed. So
the position also remembers the newest rows that were handed out, by cursor and key, and a floor for what is new.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from apps.engine.exceptions import PollCursorCoarse
from apps.engine.services.loads.cursors import CursorValue, parse
from apps.engine.services.processes.scopes import to_json

RECENT_MOST = 1_000
Row = dict[str, Any]


@dataclass(frozen=True)
class Position:
    """How far a poll has come.

    Attributes:
        column, type: the cursor column and its type; another column makes the position void.
        value: where the next read starts, inclusive; None before the first row.
        snapshot: the source's own mark for rows that commit late.
        floor: rows below it are never new.
        recent: [cursor, hash] of the newest rows that were handed out.
    """

    column: str
    type: str = "VARCHAR"
    value: str | None = None
    snapshot: str | None = None
    floor: str | None = None
    recent: tuple[tuple[str, str], ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return {**self.__dict__, "recent": [list(pair) for pair in self.recent]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None, column: str) -> Position | None:
        """The stored position of that column, or None when there is none."""
        if not data or data.get("column") != column:
            return None
        return cls(**{**data, "recent": tuple((pair[0], pair[1]) for pair in data["recent"])})

    @property
    def state(self) -> dict[str, Any]:
        """As `decide_cursor` takes it."""
        return {"column": self.column, "value": self.value, "snapshot": self.snapshot}

    def take(self, rows: Sequence[Row], keys: Sequence[str]) -> tuple[list[Row], Position]:
        """The new ones among rows that were read, by rising cursor, and the position after them.

        Rows without a value in the cursor column are never new.

        Args:
            rows: as Python values.
            keys: columns that tell rows of one cursor value apart; empty: all.

        Raises:
            PollCursorCoarse: more rows have one cursor value than can be remembered.
        """
        known = {mark for _, mark in self.recent}
        floor = None if self.floor is None else parse(self.floor, self.type)
        found: list[tuple[CursorValue, str, str, Row]] = []
        for row in rows:
            if row[self.column] is None:
                continue
            text = cursor_text(row[self.column])
            mark, order = _mark(text, row, keys), parse(text, self.type)
            if mark in known or (floor is not None and order < floor):  # type: ignore[operator]
                continue
            known.add(mark)
            found.append((order, text, mark, row))
        found.sort(key=lambda one: one[0])
        if not found:
            return [], self
        highest = found[-1][1]
        value = self.value
        if value is None or parse(value, self.type) < found[-1][0]:  # type: ignore[operator]
            value = highest
        return [one[3] for one in found], self._remember([(one[1], one[2]) for one in found], value)

    def _remember(self, fresh: list[tuple[str, str]], value: str) -> Position:
        marks = sorted([*self.recent, *fresh], key=lambda one: parse(one[0], self.type))
        kept = marks[-RECENT_MOST:]
        floor = self.floor
        if len(marks) > len(kept):
            dropped = parse(marks[-len(kept) - 1][0], self.type)
            kept = [one for one in kept if parse(one[0], self.type) > dropped]  # type: ignore[operator]
            if not kept:
                raise PollCursorCoarse(
                    f"More than {RECENT_MOST:,} rows have one value of {self.column}.", field="poll.cursor"
                )
            floor = kept[0][0]
        return replace(self, value=value, floor=floor, recent=tuple(kept))


def cursor_text(value: Any) -> str:
    """A cursor's value as canonical text."""
    if isinstance(value, date):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def type_of(value: Any) -> str:
    """The kind of a cursor's value where no schema says it."""
    if isinstance(value, datetime):
        return "TIMESTAMP"
    if isinstance(value, date):
        return "DATE"
    return "BIGINT" if isinstance(value, int | float | Decimal) else "VARCHAR"


def _mark(text: str, row: Row, keys: Sequence[str]) -> str:
    told = [text, *(to_json(row[name]) for name in keys or sorted(row))]
    return blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()
