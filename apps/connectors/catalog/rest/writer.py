"""Sends records to an API: one request per record, or lists; every request carries an idempotency key.

An API has no staging area, so `stage` sends. Staging a part again sends the same keys again, which an API that honours
`Idempotency-Key` answers without doing the work twice; PUT and PATCH are repeatable by nature.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from apps.connectors.base import Writer
from apps.connectors.catalog.rest.client import RestClient
from apps.connectors.choices import Disposition
from apps.connectors.contracts import ROW_ID, RejectedRecord, StagedPart, WriteRequest, WriteResult
from apps.connectors.exceptions import ConnectorFailed, NotSupported, WriteRefused
from apps.core.exceptions import PortalError
from apps.core.services.egress import EgressResponse

IN_FLIGHT = 8
MAX_REJECTED = 10_000
REFERENCES_KEPT = 5
REFERENCE_CHARS = 100
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


class RestWriter(Writer):
    """A load into one resource."""

    def __init__(self, request: WriteRequest, client: RestClient, resource: Mapping[str, Any]) -> None:
        """Keep what to send where.

        Raises:
            NotSupported: the disposition needs the old rows, which an API does not give up.
            WriteRefused: the path for writing names a field that the rows do not have.
        """
        super().__init__(request)
        if request.disposition not in {Disposition.APPEND, Disposition.UPSERT}:
            raise NotSupported(
                f"A REST resource cannot be loaded with {request.disposition}.", remedy="Choose append or upsert."
            )
        self._client = client
        self._method = str(resource.get("write_method", "POST"))
        self._path = str(resource.get("write_path") or resource["path"])
        self._batch = int(resource.get("write_batch", 1))
        self._honours_keys = resource.get("write_repeats", "once") == "once"
        self._references: list[str] = []
        fields = PLACEHOLDER.findall(self._path)
        unknown = [name for name in fields if name not in request.schema.names]
        if unknown:
            raise WriteRefused(f"The path for writing names {unknown[0]!r}, which is not mapped.", field=unknown[0])
        if fields and self._batch > 1:
            raise WriteRefused(
                "A path with a record's value cannot take lists.", field="write_batch", value=self._batch
            )

    @property
    def repeatable(self) -> bool:
        """PUT and PATCH are by nature, POST where the API honours the key."""
        return self._honours_keys or self._method != "POST"

    def stage(self, batches: Iterable[pa.RecordBatch], *, part: str) -> StagedPart:
        """Send the rows; a record that the API refuses is returned in `rejected`, the others go on."""
        digest = hashlib.sha256()
        rows = size = 0
        rejected: list[RejectedRecord] = []
        for batch in batches:
            records = batch.to_pylist()
            chunks = [records[start : start + self._batch] for start in range(0, len(records), self._batch)]
            for accepted, refused, sent_bytes in self._client.call(self._send_all(chunks, part, rows + len(rejected))):
                rows += accepted
                size += sent_bytes
                if len(rejected) < MAX_REJECTED:
                    rejected += refused
            for column in batch.columns:
                digest.update(str(column).encode())
        return StagedPart(part, rows, size, digest.hexdigest(), tuple(rejected))

    def duplicates(self, parts: Sequence[StagedPart]) -> Iterator[pa.RecordBatch]:
        """An API does not tell; nothing is held back."""
        del parts
        return iter(())

    def finish(self, parts: Sequence[StagedPart], *, allow_empty: bool, marker: str) -> WriteResult:
        """Everything was sent while staging; this adds up. Repeatable."""
        del allow_empty, marker
        rows = sum(part.rows for part in parts)
        facts: dict[str, Any] = {"rejected": sum(len(part.rejected) for part in parts)}
        if self._references:
            facts["reference"] = ", ".join(self._references)
        return WriteResult(rows=rows, inserted=rows, facts=facts)

    def abort(self) -> None:
        """What was sent stays sent; an API has no way back."""

    async def _send_all(
        self, chunks: list[list[dict[str, Any]]], part: str, offset: int
    ) -> list[tuple[int, list[RejectedRecord], int]]:
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def send(number: int, chunk: list[dict[str, Any]]) -> tuple[int, list[RejectedRecord], int]:
            async with gate:
                return await self._send(chunk, part, offset + number * self._batch)

        return list(await asyncio.gather(*(send(number, chunk) for number, chunk in enumerate(chunks))))

    async def _send(
        self, chunk: list[dict[str, Any]], part: str, position: int
    ) -> tuple[int, list[RejectedRecord], int]:
        names = [one.name for one in self.request.schema.fields]
        payloads = [{name: record.get(name) for name in names} for record in chunk]
        path = PLACEHOLDER.sub(lambda found: quote(str(payloads[0].get(found[1])), safe=""), self._path)
        body: Any = payloads if self._batch > 1 else payloads[0]
        identity = ",".join(
            str(record.get(ROW_ID, f"{part}/{position + number}")) for number, record in enumerate(chunk)
        )
        key = hashlib.sha256(f"{self.request.run_id}:{self.request.entity}:{identity}".encode()).hexdigest()[:40]
        try:
            answer = await self._client.request(
                self._method, self._client.url(path), body=body, headers={"Idempotency-Key": key}
            )
        except ConnectorFailed as error:
            return 0, [_rejected(record, position + number, error) for number, record in enumerate(chunk)], 0
        if len(self._references) < REFERENCES_KEPT:
            self._references += _references_in(answer)
        return len(chunk), [], len(answer.body)


def _references_in(answer: EgressResponse) -> list[str]:
    """What the API calls the record it made: the address it names, or the `id` in its answer."""
    location = answer.headers.get("Location")
    if location:
        return [location[:REFERENCE_CHARS]]
    try:
        document = answer.json()
    except (ValueError, RecursionError):
        return []
    named = document.get("id") if isinstance(document, Mapping) else None
    known = isinstance(named, str | int) and not isinstance(named, bool) and named != ""
    return [str(named)[:REFERENCE_CHARS]] if known else []


def _rejected(record: Mapping[str, Any], position: int, error: PortalError) -> RejectedRecord:
    said = str(error.facts.get("answer") or error.message)
    return RejectedRecord(int(record.get(ROW_ID) or position), "connectors.record_refused", said, dict(record))
