"""The streaming replication protocol over libpq: what the server sends, and how far we are."""

from __future__ import annotations

import select
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import psycopg
from psycopg import pq

from apps.connectors.capture.pgoutput import EPOCH
from apps.connectors.capture.rows import format_lsn
from apps.connectors.exceptions import CaptureStreamInvalid, SystemUnavailable
from apps.connectors.sql.errors import translated

_DATA = struct.Struct("!xQQq")
_KEEPALIVE = struct.Struct("!xQqB")
_STATUS = struct.Struct("!cQQQqB")
SILENCE_S = 90.0
"""A server that says nothing for so long, not even that it lives, is gone (its own default is 30 s)."""


@dataclass(frozen=True, slots=True)
class Data:
    """A message of the output plug-in."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Everything up to `wal_end` has been sent."""

    wal_end: int
    reply_wanted: bool


Frame: TypeAlias = Data | Keepalive


class ReplicationStream:
    """A running START_REPLICATION. Not thread-safe."""

    def __init__(self, session: psycopg.Connection[Any], slot: str, publication: str, start: int) -> None:
        """Start to stream.

        Args:
            session: a replication session that the stream now owns.
            slot: name of the slot.
            publication: name of the publication.
            start: transactions that committed before are not sent.
        """
        self._session = session
        self._connection = session.pgconn
        self._confirmed = start
        self._heard_at = time.monotonic()
        quoted = publication.replace('"', '""').replace("'", "''")
        statement = (
            f'START_REPLICATION SLOT "{slot}" LOGICAL {format_lsn(start)} '
            f"(proto_version '1', publication_names '\"{quoted}\"')"
        )
        with translated():
            result = self._connection.exec_(statement.encode())
            if result.status != pq.ExecStatus.COPY_BOTH:
                raise psycopg.errors.error_from_result(result)

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None when none comes in time.

        Raises:
            SystemUnavailable: the server ended the stream, or is silent.
        """
        with translated():
            found = self._take()
            if found is None and timeout_s > 0:
                self._wait(timeout_s)
                found = self._take()
        if found is None and time.monotonic() - self._heard_at > SILENCE_S:
            raise SystemUnavailable("The database stopped sending changes.")
        return found

    def confirm(self, lsn: int) -> None:
        """Tell the server that everything up to here is safe with us: it may drop its log until there."""
        self._confirmed = max(self._confirmed, lsn)
        self.reply()

    def reply(self) -> None:
        """Say that we live."""
        microseconds = int((datetime.now(UTC) - EPOCH).total_seconds() * 1_000_000)
        place = self._confirmed
        with translated():
            self._connection.put_copy_data(_STATUS.pack(b"r", place, place, place, microseconds, 0))
            self._connection.flush()

    def close(self) -> None:
        """End the stream; the slot stays."""
        self._session.close()

    def _wait(self, timeout_s: float) -> None:
        waiting = select.poll()
        waiting.register(self._connection.socket, select.POLLIN)
        if waiting.poll(timeout_s * 1000):
            self._connection.consume_input()

    def _take(self) -> Frame | None:
        length, data = self._connection.get_copy_data(1)
        if length == 0:
            self._connection.consume_input()
            length, data = self._connection.get_copy_data(1)
        if length == 0:
            return None
        if length < 0:
            raise SystemUnavailable("The database ended the change stream.")
        self._heard_at = time.monotonic()
        payload = bytes(data)
        if payload[:1] == b"w":
            return Data(payload[_DATA.size :])
        if payload[:1] == b"k":
            wal_end, _time, reply_wanted = _KEEPALIVE.unpack(payload)
            return Keepalive(wal_end, bool(reply_wanted))
        raise CaptureStreamInvalid(f"The change stream holds a frame of kind {payload[:1]!r}.")
