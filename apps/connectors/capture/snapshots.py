"""How an interrupted first snapshot goes on without a gap and without a double.

The first snapshot is the one that the slot exported: the stream brings exactly what it does not show. When it is
interrupted, that snapshot is gone for good. The rest is then read in a new, later one, and the stream, which still
begins at the slot's place, would bring changes that those rows already contain. So each part of the rest is kept as a
*segment* (table, after which key, snapshot), and a change to a key of a segment is skipped exactly when its transaction
is visible in the segment's snapshot. Behind the place where the last segment was taken nothing can be skipped any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from apps.connectors.capture.rows import CapturedTable
from apps.connectors.capture.values import INTEGERS, UUID

_HALF = 1 << 31


@dataclass(frozen=True)
class Visibility:
    """What a snapshot shows (`pg_current_snapshot()`)."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Visibility:
        """From PostgreSQL's text `xmin:xmax:xip,…`."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(one) for one in running.split(",") if one))

    def shows(self, transaction: int) -> bool:
        """Whether a committed transaction, by its 32-bit number, is visible."""
        full = (self.xmax & ~0xFFFFFFFF) | transaction
        if full - self.xmax > _HALF:
            full -= 1 << 32
        elif self.xmax - full > _HALF:
            full += 1 << 32
        return full < self.xmin or (full < self.xmax and full not in self.running)


@dataclass(frozen=True)
class Segment:
    """Rows of a table behind a key that were read in a later snapshot; `after` is None for the whole table."""

    table: str
    after: tuple[str, ...] | None
    snapshot: str
    lsn: int

    def to_json(self) -> dict[str, Any]:
        """To be stored."""
        after = None if self.after is None else list(self.after)
        return {"table": self.table, "after": after, "snapshot": self.snapshot, "lsn": self.lsn}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Segment:
        """From its stored form."""
        after = document["after"]
        return cls(
            document["table"], None if after is None else tuple(after), document["snapshot"], int(document["lsn"])
        )


class Segments:
    """Decides which changes the rows of the snapshot already contain."""

    def __init__(self, segments: Sequence[Segment], tables: dict[str, CapturedTable]) -> None:
        """Prepare.

        Args:
            segments: in the order in which they were taken, so that keys ascend within a table.
            tables: by name.
        """
        self._last = max((segment.lsn for segment in segments), default=0)
        self._of: dict[str, list[tuple[Any, Visibility]]] = {}
        for segment in segments:
            table = tables[segment.table]
            after = None if segment.after is None else order_of(table)(segment.after)
            self._of.setdefault(segment.table, []).append((after, Visibility.parse(segment.snapshot)))

    def is_over(self, lsn: int) -> bool:
        """Whether nothing that commits from here on can be in a segment."""
        return lsn > self._last

    def contain(self, table: CapturedTable, key: tuple[str, ...], transaction: int) -> bool:
        """Whether the snapshot's row with that key already shows what the transaction did."""
        found: Visibility | None = None
        place = order_of(table)(key)
        for after, visibility in self._of.get(table.name, []):
            if after is None or place > after:
                found = visibility
        return found is not None and found.shows(transaction)

    def contain_any(self, table: str, transaction: int) -> bool:
        """Whether a segment of the table shows the transaction, whatever the key."""
        return any(visibility.shows(transaction) for _after, visibility in self._of.get(table, []))


def order_of(table: CapturedTable) -> Callable[[Sequence[str]], tuple[Any, ...]]:
    """Makes a comparable of a key, in the order in which the snapshot reads the table (see `is_native`)."""
    integers = [table.pairs[position][1] in INTEGERS for position in table.positions]
    return lambda key: tuple(int(one) if integer else one.encode() for integer, one in zip(integers, key, strict=True))


def is_native(type_oid: int) -> bool:
    """Whether a key of the type is read in its own order, by the index; others by the bytes of their text."""
    return type_oid in INTEGERS or type_oid == UUID
