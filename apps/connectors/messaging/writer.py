"""Publishes records as messages, with confirmed delivery only.

A broker has no staging area, so `stage` publishes. A message's id comes from the run and the row (or from a field), so
a part that is staged again sends the same ids again: JetStream drops them within its window, others leave that to
consumers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa

from apps.connectors.base import Writer
from apps.connectors.choices import Disposition
from apps.connectors.contracts import (
    ROW_ID,
    OutgoingMessage,
    RejectedRecord,
    StagedPart,
    WriteRequest,
    WriteResult,
)
from apps.connectors.exceptions import NotSupported, WriteRefused
from apps.connectors.messaging.settings import Destination

CHUNK = 500
MAX_REJECTED = 10_000
MAX_ID_CHARS = 200
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


class Publisher(ABC):
    """A broker's side of publishing."""

    @abstractmethod
    def publish(self, destination: Destination, messages: Sequence[OutgoingMessage]) -> Mapping[int, str]:
        """Send messages and wait until the broker has confirmed or refused each.

        Returns:
            By index, why the broker refused a message; empty when all are confirmed.

        Raises:
            SystemUnavailable: some may be sent and others not; send all of them again, with the same ids.
            EntityGone, CredentialsRefused, ConnectorFailed: nothing of this can be published.
        """

    @abstractmethod
    def check_address(self, address: str) -> str:
        """Why no message can be sent to this address; empty when it can."""

    @abstractmethod
    def close(self) -> None:
        """Leave. Safe to repeat."""


class MessageWriter(Writer):
    """A load whose rows become messages."""

    def __init__(self, request: WriteRequest, publisher: Publisher, destination: Destination) -> None:
        """Keep what to publish where.

        Raises:
            NotSupported: the disposition needs what was published before.
            WriteRefused: the destination names a field that the rows do not have.
        """
        super().__init__(request)
        if request.disposition != Disposition.APPEND:
            raise NotSupported(
                f"Messages cannot be loaded with {request.disposition}.", remedy="Choose append: messages only add up."
            )
        self._publisher = publisher
        self._to = destination
        self._names = [one.name for one in request.schema.fields]
        named = [destination.key_field, destination.id_field, destination.body_field, *destination.headers.values()]
        named += PLACEHOLDER.findall(destination.address)
        unknown = sorted({name for name in named if name} - set(self._names))
        if unknown:
            raise WriteRefused(
                f"The destination {destination.name!r} names {unknown[0]!r}, which the rows do not have.",
                field=unknown[0],
                remedy="Map the field, or change the destination in the connection.",
            )

    def stage(self, batches: Iterable[pa.RecordBatch], *, part: str) -> StagedPart:
        """Publish the rows; those that the broker refuses are returned in `rejected`, the others go on."""
        digest = hashlib.sha256()
        rows = size = position = 0
        rejected: list[RejectedRecord] = []
        for batch in batches:
            records = batch.to_pylist()
            for start in range(0, len(records), CHUNK):
                chunk = records[start : start + CHUNK]
                built = [self._build(record, part, position + number) for number, record in enumerate(chunk)]
                position += len(chunk)
                faults = {index: one for index, one in enumerate(built) if isinstance(one, str)}
                good = [(index, one) for index, one in enumerate(built) if isinstance(one, OutgoingMessage)]
                refused = self._publisher.publish(self._to, [one for _index, one in good]) if good else {}
                faults |= {good[index][0]: reason for index, reason in refused.items()}
                for index, one in good:
                    if index not in faults:
                        digest.update(one.message_id.encode() + b"\0" + one.body)
                        rows, size = rows + 1, size + len(one.body)
                rejected += [
                    RejectedRecord(
                        int(chunk[index].get(ROW_ID) or index), "connectors.record_refused", reason, chunk[index]
                    )
                    for index, reason in sorted(faults.items())
                ][: MAX_REJECTED - len(rejected)]
        return StagedPart(part, rows, size, digest.hexdigest(), tuple(rejected))

    def duplicates(self, parts: Sequence[StagedPart]) -> Iterator[pa.RecordBatch]:
        """Every row is a message of its own; nothing is held back."""
        del parts
        return iter(())

    def finish(self, parts: Sequence[StagedPart], *, allow_empty: bool, marker: str) -> WriteResult:
        """Everything was confirmed while staging; this adds up. Repeatable."""
        del allow_empty, marker
        rows = sum(part.rows for part in parts)
        return WriteResult(rows=rows, inserted=rows, facts={"rejected": sum(len(part.rejected) for part in parts)})

    def abort(self) -> None:
        """What was published stays published; a broker has no way back."""

    def _build(self, record: Mapping[str, Any], part: str, position: int) -> OutgoingMessage | str:
        values = {name: record.get(name) for name in self._names}
        address = PLACEHOLDER.sub(lambda found: to_text(values[found[1]]), self._to.address)
        if fault := self._publisher.check_address(address):
            return fault
        message_id = to_text(values[self._to.id_field]) if self._to.id_field else ""
        if not message_id:
            if self._to.id_field:
                return f"{self._to.id_field} is empty, and it identifies the message."
            identity = f"{self.request.run_id}:{self.request.entity}:{record.get(ROW_ID, f'{part}/{position}')}"
            message_id = hashlib.sha256(identity.encode()).hexdigest()[:40]
        if len(message_id) > MAX_ID_CHARS or not message_id.isprintable():
            return f"The id of a message has at most {MAX_ID_CHARS} printable characters."
        key = to_text(values[self._to.key_field]) if self._to.key_field else ""
        try:
            content_type, body = self._content(values, message_id, key)
        except ValueError:
            return "A number is not finite, which JSON cannot say."
        headers = {
            header: to_text(values[name]) for header, name in self._to.headers.items() if values[name] is not None
        }
        if any(not value.isprintable() for value in headers.values()):
            return "A header's value has a line break or another control character."
        return OutgoingMessage(
            int(record.get(ROW_ID) or position), address, body.encode(), message_id, content_type, key, headers
        )

    def _content(self, values: Mapping[str, Any], message_id: str, key: str) -> tuple[str, str]:
        if self._to.body_field:
            return "text/plain; charset=utf-8", to_text(values[self._to.body_field])
        if self._to.format != "cloudevents":
            return "application/json", to_json_text(values)
        event = {
            "specversion": "1.0",
            "id": message_id,
            "type": self._to.event_type,
            "source": self._to.event_source,
            "datacontenttype": "application/json",
            **({"partitionkey": key} if key else {}),
            "data": values,
        }
        return "application/cloudevents+json; charset=utf-8", to_json_text(event)


def to_json_text(value: Any) -> str:
    """JSON; decimals and dates are text, so that nothing passes through binary floating point."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=to_text)


def to_text(value: Any) -> str:
    """A value in an address, a header or as a key."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
