"""Messages of PostgreSQL's logical decoding plug-in `pgoutput`, protocol version 1, text format.

Version 1 sends a transaction only after it has committed, whole and in the order of the commits. The server spills a
large one to its own disk (`logical_decoding_work_mem`), so that memory is bounded on both sides and no change of a
transaction that is rolled back ever arrives.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from apps.connectors.exceptions import CaptureStreamInvalid

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Unchanged:
    """The type of `UNCHANGED`."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()
"""Value of a large column that an update left alone and the server did not send (TOAST)."""

Value: TypeAlias = bytes | Unchanged | None
Values: TypeAlias = list[Value]


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the log knows it; `is_key` when it belongs to the replica identity."""

    name: str
    type_oid: int
    modifier: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's structure; comes before its first change, and again when it has changed."""

    id: int
    name: str
    identity: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A committed transaction follows. `lsn` is the place of its commit record."""

    lsn: int
    committed_at: datetime
    transaction: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction is complete; the log goes on at `end_lsn`."""

    lsn: int
    end_lsn: int


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row was inserted (`I`), updated (`U`) or deleted (`D`).

    Attributes:
        old: the row before, as far as the replica identity gives it.
        old_is_key: only the key columns of `old` are known.
    """

    kind: str
    relation: int
    old: Values | None
    old_is_key: bool
    new: Values | None


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables were emptied."""

    relations: tuple[int, ...]


Message: TypeAlias = Begin | Commit | Relation | RowChange | Truncate

_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")
_BEGIN = struct.Struct("!QqI")
_COMMIT = struct.Struct("!xQQq")
_COLUMN = struct.Struct("!Ii")
_IGNORED = b"YOM"


def decode(payload: bytes) -> Message | None:
    """One message; None for kinds that say nothing about rows (types, origins, logical messages).

    Raises:
        CaptureStreamInvalid: it is cut short, or of a kind that protocol version 1 does not have.
    """
    try:
        return _decode(payload)
    except (struct.error, IndexError, ValueError) as error:
        raise CaptureStreamInvalid(f"A message of the change stream cannot be read: {error}.") from error


def _decode(payload: bytes) -> Message | None:
    kind = payload[:1]
    if kind in (b"I", b"U", b"D"):
        return _decode_change(payload)
    if kind == b"B":
        lsn, microseconds, transaction = _BEGIN.unpack_from(payload, 1)
        return Begin(lsn, EPOCH + timedelta(microseconds=microseconds), transaction)
    if kind == b"C":
        lsn, end_lsn, _time = _COMMIT.unpack_from(payload, 1)
        return Commit(lsn, end_lsn)
    if kind == b"R":
        return _decode_relation(payload)
    if kind == b"T":
        (count,) = _U32.unpack_from(payload, 1)
        return Truncate(struct.unpack_from(f"!{count}I", payload, 6))
    if kind and kind in _IGNORED:
        return None
    raise ValueError(f"kind {kind!r}")


def _decode_relation(payload: bytes) -> Relation:
    (relation,) = _U32.unpack_from(payload, 1)
    schema, at = _text(payload, 5)
    table, at = _text(payload, at)
    identity = chr(payload[at])
    (count,) = _U16.unpack_from(payload, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        is_key = bool(payload[at] & 1)
        name, at = _text(payload, at + 1)
        type_oid, modifier = _COLUMN.unpack_from(payload, at)
        at += 8
        columns.append(Column(name, type_oid, modifier, is_key))
    return Relation(relation, f"{schema or 'pg_catalog'}.{table}", identity, tuple(columns))


def _decode_change(payload: bytes) -> RowChange:
    kind = chr(payload[0])
    (relation,) = _U32.unpack_from(payload, 1)
    at, old, old_is_key = 5, None, False
    mark = payload[at : at + 1]
    if mark in (b"K", b"O"):
        old_is_key = mark == b"K"
        old, at = _tuple(payload, at + 1)
        mark = payload[at : at + 1]
    if kind == "D":
        return RowChange(kind, relation, old, old_is_key, None)
    if mark != b"N":
        raise ValueError(f"a change without its row ({mark!r})")
    new, _at = _tuple(payload, at + 1)
    return RowChange(kind, relation, old, old_is_key, new)


def _tuple(payload: bytes, at: int) -> tuple[Values, int]:
    (count,) = _U16.unpack_from(payload, at)
    at += 2
    values: Values = []
    for _ in range(count):
        mark = payload[at]
        at += 1
        if mark == 0x74:  # t: text
            (length,) = _U32.unpack_from(payload, at)
            at += 4
            if at + length > len(payload):
                raise ValueError("a value is cut short")
            values.append(payload[at : at + length])
            at += length
        elif mark == 0x6E:  # n: NULL
            values.append(None)
        elif mark == 0x75:  # u: unchanged and not sent
            values.append(UNCHANGED)
        else:
            raise ValueError(f"a value of kind {mark:#x}")
    return values, at


def _text(payload: bytes, at: int) -> tuple[str, int]:
    end = payload.index(b"\0", at)
    return payload[at:end].decode(), end + 1
