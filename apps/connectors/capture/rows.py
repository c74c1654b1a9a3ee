"""A changed row as the data of a `row.changed.v1` event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.connectors.capture.pgoutput import UNCHANGED, RowChange, Values
from apps.connectors.capture.values import dump_object, encode_object

MAX_NAME_CHARS = 200
MAX_ROW_BYTES = 44_000
"""Room of a row in an event; its key (2.7 KB at most, six times that when escaped) and the rest fit into 64 KiB too."""


@dataclass(frozen=True)
class Place:
    """Where in the source's history a row comes from.

    Attributes:
        lsn: place of the commit record, or where the snapshot was taken.
        number: of the change in its transaction, from 1; 0 in a snapshot.
    """

    lsn: int
    number: int = 0
    transaction: int | None = None
    committed_at: datetime | None = None


@dataclass
class CapturedTable:
    """A captured table: its structure as last seen, and its key."""

    name: str
    keys: tuple[str, ...]
    columns: list[tuple[str, int, str]]
    """Name, type's oid, type as people write it."""
    positions: list[int] = field(init=False)
    pairs: list[tuple[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        """Find the key's columns."""
        names = [name for name, _oid, _type in self.columns]
        self.positions = [names.index(key) for key in self.keys]
        self.pairs = [(name, oid) for name, oid, _type in self.columns]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> CapturedTable:
        """From its stored form."""
        columns = [(one["name"], int(one["oid"]), one["type"]) for one in document["columns"]]
        return cls(document["name"], tuple(document["keys"]), columns)

    def to_json(self) -> dict[str, Any]:
        """To be stored."""
        columns = [{"name": name, "oid": oid, "type": type_} for name, oid, type_ in self.columns]
        return {"name": self.name, "keys": list(self.keys), "columns": columns}

    def key_of(self, values: Values) -> tuple[str, ...]:
        """Texts of the key's values."""
        return tuple(_text(values[position]) for position in self.positions)


@dataclass(frozen=True)
class RowEvent:
    """What is published: data as JSON text, and the subject, which is also the key that keeps the order."""

    text: str
    subject: str


@dataclass(frozen=True)
class RowPublisher:
    """Writes events of one capture's rows."""

    capture_id: UUID
    connection: str

    def subject_of(self, table: str, key: Sequence[str]) -> str:
        """`connection/table/key`; a digest stands for a key that is too long."""
        subject = "/".join([self.connection, table, *key])
        if len(subject) <= MAX_NAME_CHARS:
            return subject
        digest = hashlib.sha256(subject.encode()).hexdigest()
        return f"{self.connection}/{digest}"

    def read(self, table: CapturedTable, values: Values, place: Place) -> RowEvent:
        """A row of the first snapshot."""
        return self._event("read", table, values, None, values, place)

    def change(self, table: CapturedTable, change: RowChange, place: Place) -> list[tuple[tuple[str, ...], RowEvent]]:
        """Events of a change with the key of each: one, or two when a row changed its key (each key has its order)."""
        old, new = change.old, change.new
        if new is None:
            assert old is not None
            before = None if change.old_is_key else old
            return [(table.key_of(old), self._event("delete", table, old, before, None, place))]
        if old is not None and not change.old_is_key:
            # The whole old row is known (REPLICA IDENTITY FULL): it has what the new one leaves out.
            new = [was if value is UNCHANGED else value for was, value in zip(old, new, strict=True)]
        if change.kind == "I":
            return [(table.key_of(new), self._event("insert", table, new, None, new, place))]
        before = None if old is None or change.old_is_key else old
        if old is not None and table.key_of(old) != table.key_of(new):
            return [
                (table.key_of(old), self._event("delete", table, old, before, None, place)),
                (table.key_of(new), self._event("insert", table, new, None, new, place)),
            ]
        return [(table.key_of(new), self._event("update", table, new, before, new, place))]

    def truncate(self, table: CapturedTable, place: Place) -> RowEvent:
        """The table was emptied. Its own subject: it has no key."""
        text = self._text("truncate", table, {}, None, None, [], place)
        return RowEvent(text, self.subject_of(table.name, ()))

    def _event(
        self,
        op: str,
        table: CapturedTable,
        identity: Values,
        before: Values | None,
        after: Values | None,
        place: Place,
    ) -> RowEvent:
        key = encode_object(
            [table.pairs[position] for position in table.positions],
            [identity[position] for position in table.positions],
        )
        unchanged = [name for (name, _), value in zip(table.pairs, after or [], strict=False) if value is UNCHANGED]
        text = self._text(
            op,
            table,
            key,
            None if before is None else encode_object(table.pairs, before),
            None if after is None else encode_object(table.pairs, after),
            unchanged,
            place,
        )
        return RowEvent(text, self.subject_of(table.name, table.key_of(identity)))

    def _text(
        self,
        op: str,
        table: CapturedTable,
        key: dict[str, str],
        before: dict[str, str] | None,
        after: dict[str, str] | None,
        unchanged: list[str],
        place: Place,
    ) -> str:
        omitted = _fit([part for part in (before, after) if part is not None])
        head = {
            "capture": str(self.capture_id),
            "connection": self.connection,
            "table": table.name,
            "op": op,
            "unchanged": unchanged,
            "omitted": omitted,
            "lsn": format_lsn(place.lsn),
            "transaction": place.transaction,
            "place": place.number,
            "committed_at": None if place.committed_at is None else place.committed_at.isoformat(),
        }
        parts = {
            "key": dump_object(key),
            "before": "null" if before is None else dump_object(before),
            "after": "null" if after is None else dump_object(after),
        }
        rows = ",".join(f'"{name}":{text}' for name, text in parts.items())
        return f"{json.dumps(head, ensure_ascii=False)[:-1]},{rows}}}"


def format_lsn(lsn: int) -> str:
    """A place in the log as PostgreSQL writes it (`16/B374D848`)."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """The place that `format_lsn` wrote."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def _fit(rows: list[dict[str, str]]) -> list[str]:
    """Leave out the largest columns until the rows fit into an event; returns their names."""
    sizes: dict[str, int] = {}
    for row in rows:
        for name, text in row.items():
            # Before a UTF-8 encoding is computed for each: four bytes a character at most.
            sizes[name] = sizes.get(name, 0) + len(text) + len(name) + 6
    if 4 * sum(sizes.values()) <= MAX_ROW_BYTES:
        return []
    sizes = dict.fromkeys(sizes, 0)
    for row in rows:
        for name, text in row.items():
            sizes[name] += len(text.encode()) + len(name.encode()) + 6
    omitted = []
    total = sum(sizes.values())
    for name in sorted(sizes, key=lambda one: sizes[one], reverse=True):
        if total <= MAX_ROW_BYTES:
            break
        total -= sizes[name]
        omitted.append(name)
        for row in rows:
            row.pop(name, None)
    return sorted(omitted)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else ""
