"""Store verified webhooks and publish their events: concurrent requests share one commit, and each waits for it.

One task per event loop, with one connection of its own, takes everything that has gathered while the last commit was
under way. What it answers is durable: `accepted` means that message and event are committed. A message id that is known
is a duplicate and publishes nothing.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import structlog

from apps.core.clock import now
from apps.core.exceptions import TransientError
from apps.core.ids import uuid7
from apps.events.choices import EndpointStatus
from apps.events.models import InboundEndpoint
from apps.events.services.foreign_bodies import dump_exact, load_exact
from apps.events.services.inbound_limits import inbound_limits
from apps.events.services.inbound_schemes import VerifyRules
from apps.events.services.inbound_tallies import ADD, Tally
from apps.events.services.leadership import open_async_session
from apps.events.services.outbox import MAX_DATA_BYTES, NOTIFY_CHANNEL, build_source
from apps.events.services.payloads import to_json
from apps.events.services.signing_keys import ENDPOINT, valid_fields
from apps.tenancy.contracts import Scope, TenantRef
from apps.tenancy.services.context import tenant_context
from apps.vault.services.secrets import reveal_secrets

log = structlog.get_logger(__name__)

BATCH = 256
MAX_PENDING = 5_000
ENDPOINT_CACHE_S = 5.0
MAX_CACHED = 10_000
IDLE_S = 60.0
MAX_EVENT_BODY_BYTES = MAX_DATA_BYTES - 4096

# The arrays go in binary (`b`): as text, escaping the quotes of JSON cost more than everything else together.
_STORE = """
    WITH given AS (
        SELECT * FROM unnest(%(ids)b::uuid[], %(messages)b::text[], %(content_types)b::text[], %(headers)b::text[],
                             %(bodies)b::bytea[], %(data)b::text[]) WITH ORDINALITY
        AS one(id, message_id, content_type, headers, body, data, place)
    ), fresh AS (
        INSERT INTO events_inboundmessage
            (id, endpoint_id, event_id, message_id, content_type, headers, body, size_bytes, received_at)
        SELECT id, %(endpoint)s, id, message_id, content_type, headers::jsonb, body, length(body), clock_timestamp()
        FROM given ORDER BY place
        ON CONFLICT (endpoint_id, message_id) DO NOTHING
        RETURNING id
    ), published AS (
        INSERT INTO events_event (id, type, source, subject, time, key, data)
        SELECT given.id, %(type)s, %(source)s, %(subject)s, clock_timestamp(), %(subject)s, given.data::jsonb
        FROM given JOIN fresh USING (id) ORDER BY given.place
        RETURNING id
    ), rung AS (
        SELECT pg_notify(%(channel)s, %(tenant)s) FROM published LIMIT 1
    )
    SELECT published.id FROM published LEFT JOIN rung ON true
"""
_ENTER = "SELECT set_config('search_path', %s, false), set_config('role', %s, false)"


class IntakeBusy(TransientError):
    """Too many webhooks are waiting to be stored."""

    code = "events.intake_busy"


@dataclass(frozen=True)
class KnownEndpoint:
    """What the intake needs to know of an endpoint."""

    id: UUID
    tenant: TenantRef
    event_type: str
    status: str
    max_bytes: int
    rules: VerifyRules
    rate_per_s: int
    burst: int


@dataclass(frozen=True)
class VerifiedMessage:
    """A webhook whose signature holds; `id` becomes the id of the stored message and of its event."""

    endpoint: KnownEndpoint
    message_id: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    id: UUID = field(default_factory=uuid7)


@dataclass(frozen=True)
class Stored:
    """The answer: committed, and whether it was there before."""

    duplicate: bool


class EndpointCache:
    """Endpoints with their secrets, kept for seconds: a changed secret counts within `ENDPOINT_CACHE_S`."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[UUID, str], tuple[float, KnownEndpoint | None]] = OrderedDict()
        self._lock = threading.Lock()

    def peek(self, tenant_id: UUID, public_id: str) -> tuple[bool, KnownEndpoint | None]:
        """(whether it is known, what it is)."""
        with self._lock:
            found = self._known.get((tenant_id, public_id))
        if found is None or time.monotonic() - found[0] > ENDPOINT_CACHE_S:
            return False, None
        return True, found[1]

    def load(self, tenant: TenantRef, public_id: str) -> KnownEndpoint | None:
        """Ask the database; None for an unknown or archived one."""
        found = _load_endpoint(tenant, public_id)
        with self._lock:
            self._known[tenant.id, public_id] = (time.monotonic(), found)
            self._known.move_to_end((tenant.id, public_id))
            while len(self._known) > MAX_CACHED:
                self._known.popitem(last=False)
        return found

    def clear(self) -> None:
        """Forget everything; for tests."""
        with self._lock:
            self._known.clear()


class Intake:
    """The writer of one event loop. Its task starts with the first message and ends after a minute without one."""

    def __init__(self) -> None:
        self._pending: list[tuple[VerifiedMessage, asyncio.Future[Stored]]] = []
        self._tallies: dict[UUID, Tally] = {}
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._session: IntakeSession | None = None
        self._closing = False

    async def store(self, message: VerifiedMessage) -> Stored:
        """Commit the message and its event.

        Raises:
            IntakeBusy: too many wait already.
            psycopg.Error: nothing was accepted, the sender should come again.
        """
        if len(self._pending) >= MAX_PENDING:
            raise IntakeBusy()
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._pending.append((message, future))
        self._ring()
        return await future

    def note_rejection(self, endpoint: KnownEndpoint, reason: str) -> None:
        """Count a refused webhook; written at most once a second and endpoint."""
        self._tally(endpoint).refuse(reason)
        self._ring()

    def _tally(self, endpoint: KnownEndpoint) -> Tally:
        found = self._tallies.get(endpoint.id)
        if found is None:
            found = self._tallies[endpoint.id] = Tally(endpoint.tenant)
        return found

    async def close(self) -> None:
        """Write what waits, end the task and close the connection; a later message starts it again."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def _ring(self) -> None:
        if self._task is None or self._task.done():
            self._closing, self._wake = False, asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._work())
        self._wake.set()

    async def _work(self) -> None:
        session = IntakeSession()
        flushed = 0.0
        try:
            while True:
                if not self._pending and not self._closing:
                    try:
                        async with asyncio.timeout(1.0 if self._tallies else IDLE_S):
                            await self._wake.wait()
                    except TimeoutError:
                        if not self._pending and not self._tallies:
                            return
                self._wake.clear()
                batch, self._pending = self._pending[:BATCH], self._pending[BATCH:]
                if batch:
                    await self._store(session, batch)
                if self._tallies and (self._closing or time.monotonic() - flushed > 1.0):
                    tallies, self._tallies = self._tallies, {}
                    flushed = time.monotonic()
                    for endpoint_id, tally in tallies.items():
                        await session.count(endpoint_id, tally)
                if self._closing and not self._pending and not self._tallies:
                    return
        finally:
            await session.close()

    async def _store(self, session: IntakeSession, batch: list[tuple[VerifiedMessage, asyncio.Future[Stored]]]) -> None:
        by_endpoint: dict[UUID, list[VerifiedMessage]] = {}
        for message, _future in batch:
            by_endpoint.setdefault(message.endpoint.id, []).append(message)
        results: dict[UUID, Stored | Exception] = {}
        for messages in by_endpoint.values():
            stored = await session.store(messages)
            results |= stored
            for result in stored.values():
                if isinstance(result, Stored):
                    self._tally(messages[0].endpoint).store(duplicate=result.duplicate)
        for message, future in batch:
            result = results[message.id]
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


class IntakeSession:
    """A connection of the event loop's own that enters tenants as the database backend does: path and role together."""

    def __init__(self) -> None:
        """Connect with the first use."""
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._entered: tuple[str, str | None] | None = None

    async def store(self, messages: list[VerifiedMessage]) -> dict[UUID, Stored | Exception]:
        """Commit messages of one endpoint together; if one of them is at fault, each alone.

        Returns:
            By message id: committed, or why not.
        """
        try:
            return await self._insert(messages, [build_data(message) for message in messages])
        except psycopg.DataError as error:
            if len(messages) > 1:
                found: dict[UUID, Stored | Exception] = {}
                for message in messages:
                    found |= await self.store([message])
                return found
            # JSON that PostgreSQL cannot hold (a number beyond its range): kept as received, the event says so.
            log.info("webhook_body_unreadable", error=str(error).strip()[:200])
            return await self._insert(messages, [_data_text(messages[0], "null", truncated=True)])
        except (psycopg.Error, OSError) as error:
            log.warning("webhooks_not_stored", count=len(messages), error=f"{type(error).__name__}: {error}")
            await self.close()
            return {message.id: error for message in messages}

    async def count(self, endpoint_id: UUID, tally: Tally) -> None:
        """Add to an endpoint's hour; a count that is lost harms nothing."""
        try:
            await self._execute(tally.tenant, ADD, tally.parameters(endpoint_id))
        except (psycopg.Error, OSError) as error:
            log.warning("webhooks_not_counted", refused=tally.refused, error=type(error).__name__)
            await self.close()

    async def close(self) -> None:
        """Close the connection; the next use opens another."""
        found, self._connection, self._entered = self._connection, None, None
        if found is not None:
            await found.close()

    async def _insert(self, messages: list[VerifiedMessage], data: list[str]) -> dict[UUID, Stored | Exception]:
        endpoint = messages[0].endpoint
        cursor = await self._execute(
            endpoint.tenant,
            _STORE,
            {
                "ids": [message.id for message in messages],
                "messages": [message.message_id for message in messages],
                "content_types": [message.content_type for message in messages],
                "headers": [json.dumps(message.headers) for message in messages],
                "bodies": [message.body for message in messages],
                "data": data,
                "endpoint": endpoint.id,
                "type": endpoint.event_type,
                "subject": f"webhook/{endpoint.id}",
                "source": build_source(endpoint.tenant.id),
                "channel": NOTIFY_CHANNEL,
                "tenant": str(endpoint.tenant.id),
            },
        )
        fresh = {row[0] for row in await cursor.fetchall()}
        return {message.id: Stored(message.id not in fresh) for message in messages}

    async def _execute(self, tenant: TenantRef, query: LiteralString, parameters: Any) -> psycopg.AsyncCursor[Any]:
        """One statement in autocommit: one commit and one round trip.

        A session that the server has ended meanwhile is opened again, once: what is sent twice is taken once.
        """
        for last in (False, True):
            try:
                session = await self._enter(tenant)
                return await session.execute(query, parameters)
            except psycopg.OperationalError:
                await self.close()
                if last:
                    raise
        raise AssertionError("unreachable")

    async def _enter(self, tenant: TenantRef) -> psycopg.AsyncConnection[Any]:
        if self._connection is None:
            self._connection = await open_async_session()
        wanted = Scope(tenant.schema_name, tenant.db_role, tenant).session
        if self._entered != wanted:
            self._entered = None
            await self._connection.execute(_ENTER, wanted)
            self._entered = wanted
        return self._connection


def build_data(message: VerifiedMessage) -> str:
    """JSON text of the event's data. The body's own text is embedded, so that no number loses a digit."""
    body = message.body
    if len(body) > MAX_EVENT_BODY_BYTES:
        return _data_text(message, "null", truncated=True)
    try:
        text = body.decode()
        json.loads(text, parse_constant=_refuse, parse_float=str, parse_int=str)
        if "\\u" in text:
            # Escapes may hide NUL and lone surrogates, which JSONB refuses.
            text = dump_exact(load_exact(text))
    except (ValueError, RecursionError):
        text = json.dumps(to_json(body.decode("utf-8", "replace")), ensure_ascii=False)
        return _data_text(message, text, truncated=len(text.encode()) > MAX_EVENT_BODY_BYTES)
    return _data_text(message, text)


def _data_text(message: VerifiedMessage, body: str, *, truncated: bool = False) -> str:
    head = json.dumps(
        {
            "endpoint": str(message.endpoint.id),
            "message_id": message.message_id,
            "content_type": message.content_type,
            "truncated": truncated,
        }
    )
    return f'{head[:-1]}, "body": {"null" if truncated else body}}}'


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _load_endpoint(tenant: TenantRef, public_id: str) -> KnownEndpoint | None:
    with tenant_context(tenant):  # type: ignore[arg-type]
        row = InboundEndpoint.objects.filter(public_id=public_id).exclude(status=EndpointStatus.ARCHIVED).first()
        if row is None:
            return None
        secrets = reveal_secrets(ENDPOINT, row.id, purpose="events.verify")
        valid = tuple(secrets[name] for name in valid_fields(row.signing_keys, now()))
    rules = VerifyRules(row.scheme, row.config, valid, row.tolerance_s)
    limits = inbound_limits()
    per_s = row.rate_per_s or limits.endpoint_per_s
    burst = row.burst or max(per_s, limits.endpoint_burst if row.rate_per_s is None else 0)
    return KnownEndpoint(row.id, tenant, row.event_type, row.status, row.max_bytes, rules, per_s, burst)


endpoint_cache = EndpointCache()
intake = Intake()
