"""Store verified webhooks and publish their events: concurrent requests share one commit, and each waits for it.

One thread with one connection takes everything that has gathered while the last commit was under way. What it answers
is durable: `accepted` means that message and event are committed. A message id that is known is a duplicate and
publishes nothing.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from django.db import DataError, connection

from apps.core.clock import now
from apps.core.exceptions import TransientError
from apps.core.ids import uuid7
from apps.events.choices import EndpointStatus
from apps.events.models import InboundEndpoint
from apps.events.services.inbound_schemes import VerifyRules
from apps.events.services.outbox import MAX_DATA_BYTES, NOTIFY_CHANNEL, build_source
from apps.events.services.payloads import to_json
from apps.events.services.signing_keys import ENDPOINT, valid_fields
from apps.tenancy.contracts import TenantRef
from apps.tenancy.services.context import tenant_context
from apps.vault.services.secrets import reveal_secrets

log = structlog.get_logger(__name__)

BATCH = 256
MAX_PENDING = 5_000
ENDPOINT_CACHE_S = 5.0
MAX_CACHED = 10_000
IDLE_S = 60.0
MAX_EVENT_BODY_BYTES = MAX_DATA_BYTES - 4096

_STORE = """
    WITH given AS (
        SELECT * FROM unnest(
            %(ids)s::uuid[], %(events)s::uuid[], %(endpoints)s::uuid[], %(messages)s::text[], %(content_types)s::text[],
            %(headers)s::text[], %(bodies)s::bytea[], %(types)s::text[], %(subjects)s::text[], %(data)s::text[]
        ) WITH ORDINALITY
        AS one(id, event_id, endpoint_id, message_id, content_type, headers, body, type, subject, data, place)
    ), fresh AS (
        INSERT INTO events_inboundmessage
            (id, endpoint_id, event_id, message_id, content_type, headers, body, size_bytes, received_at)
        SELECT id, endpoint_id, event_id, message_id, content_type, headers::jsonb, body, length(body),
               clock_timestamp()
        FROM given ORDER BY place
        ON CONFLICT (endpoint_id, message_id) DO NOTHING
        RETURNING id
    ), published AS (
        INSERT INTO events_event (id, type, source, subject, time, key, data)
        SELECT given.event_id, given.type, %(source)s, given.subject, clock_timestamp(), given.subject,
               given.data::jsonb
        FROM given JOIN fresh USING (id) ORDER BY given.place
        RETURNING id
    ), rung AS (
        SELECT pg_notify(%(channel)s, %(tenant)s) FROM published LIMIT 1
    )
    SELECT published.id FROM published LEFT JOIN rung ON true
"""
_REJECTED = """
    UPDATE events_inboundendpoint
    SET rejected = rejected + %s, last_rejected_at = clock_timestamp(), last_rejection = %s
    WHERE id = %s
"""


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


@dataclass(frozen=True)
class VerifiedMessage:
    """A webhook whose signature holds."""

    endpoint: KnownEndpoint
    message_id: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    id: UUID = field(default_factory=uuid7)
    event_id: UUID = field(default_factory=uuid7)


@dataclass(frozen=True)
class Stored:
    """The answer: committed, and whether it was there before."""

    event_id: UUID
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
    """The process's one writer. Its thread starts with the first message and ends after a minute without one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: list[tuple[VerifiedMessage, asyncio.Future[Stored], asyncio.AbstractEventLoop]] = []
        self._rejections: dict[UUID, tuple[TenantRef, int, str]] = {}
        self._thread: threading.Thread | None = None
        self._closing = False

    async def store(self, message: VerifiedMessage) -> Stored:
        """Commit the message and its event.

        Raises:
            IntakeBusy: too many wait already.
            Exception: the database's; nothing was accepted, the sender should come again.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Stored] = loop.create_future()
        with self._changed:
            if len(self._pending) >= MAX_PENDING:
                raise IntakeBusy()
            self._pending.append((message, future, loop))
            self._wake()
        return await future

    def note_rejection(self, endpoint: KnownEndpoint, reason: str) -> None:
        """Count a refused webhook; written with the next group, at most once a second and endpoint."""
        with self._changed:
            _tenant, count, _reason = self._rejections.get(endpoint.id, (endpoint.tenant, 0, ""))
            self._rejections[endpoint.id] = (endpoint.tenant, count + 1, reason)
            self._wake()

    def close(self) -> None:
        """Write what waits and end the thread; a later message starts it again."""
        with self._changed:
            thread, self._closing = self._thread, True
            self._changed.notify()
        if thread is not None:
            thread.join(10)

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._closing = False
            self._thread = threading.Thread(target=self._work, name="webhook-intake", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _work(self) -> None:
        flushed = 0.0
        try:
            while True:
                with self._changed:
                    if not self._pending and not self._closing:
                        self._changed.wait(1.0 if self._rejections else IDLE_S)
                    batch, self._pending = self._pending[:BATCH], self._pending[BATCH:]
                    rejections: dict[UUID, tuple[TenantRef, int, str]] = {}
                    if self._rejections and (time.monotonic() - flushed > 1.0 or self._closing):
                        rejections, self._rejections = self._rejections, {}
                        flushed = time.monotonic()
                    if not batch and not rejections and not self._rejections:
                        self._thread = None
                        return
                if batch:
                    self._store(batch)
                for endpoint_id, (tenant, count, reason) in rejections.items():
                    _write_rejections(tenant, endpoint_id, count, reason)
        finally:
            connection.close()

    def _store(self, batch: list[tuple[VerifiedMessage, asyncio.Future[Stored], asyncio.AbstractEventLoop]]) -> None:
        by_tenant: dict[UUID, list[VerifiedMessage]] = {}
        for message, _future, _loop in batch:
            by_tenant.setdefault(message.endpoint.tenant.id, []).append(message)
        results: dict[UUID, Stored | Exception] = {}
        for messages in by_tenant.values():
            results |= store_messages(messages)
        answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Stored], Stored | Exception]]] = {}
        for message, future, loop in batch:
            answers.setdefault(loop, []).append((future, results[message.id]))
        for loop, found in answers.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_answer, found)


def store_messages(messages: list[VerifiedMessage]) -> dict[UUID, Stored | Exception]:
    """Commit messages of one tenant together; if one of them is at fault, each alone.

    Returns:
        By message id: committed, or why not.
    """
    try:
        return _insert(messages, [build_data(message) for message in messages])
    except DataError as error:
        if len(messages) > 1:
            return {key: value for message in messages for key, value in store_messages([message]).items()}
        # JSON that PostgreSQL cannot hold (a number beyond its range): kept as received, the event says so.
        log.info("webhook_body_unreadable", error=str(error).strip()[:200])
        return _insert(messages, [_data_text(messages[0], "null", truncated=True)])
    except Exception as error:  # noqa: BLE001 - the senders are told to come again
        log.warning("webhooks_not_stored", count=len(messages), error=f"{type(error).__name__}: {error}")
        connection.close()
        return {message.id: error for message in messages}


def build_data(message: VerifiedMessage) -> str:
    """JSON text of the event's data. The body's own text is embedded, so that no number loses a digit."""
    body = message.body
    if len(body) > MAX_EVENT_BODY_BYTES:
        return _data_text(message, "null", truncated=True)
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        text = json.dumps(to_json(body.decode("utf-8", "replace")), ensure_ascii=False)
        return _data_text(message, text, truncated=len(text.encode()) > MAX_EVENT_BODY_BYTES)
    if "\\u" in text:
        # Escapes may hide NUL and lone surrogates, which JSONB refuses.
        value = json.loads(text)
        text = json.dumps(to_json(value), ensure_ascii=False)
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


def _insert(messages: list[VerifiedMessage], data: list[str]) -> dict[UUID, Stored | Exception]:
    tenant = messages[0].endpoint.tenant
    with tenant_context(tenant), connection.cursor() as cursor:  # type: ignore[arg-type]
        # One statement outside a transaction block is one commit and one round trip.
        cursor.execute(
            _STORE,
            {
                "ids": [message.id for message in messages],
                "events": [message.event_id for message in messages],
                "endpoints": [message.endpoint.id for message in messages],
                "messages": [message.message_id for message in messages],
                "content_types": [message.content_type for message in messages],
                "headers": [json.dumps(dict(message.headers)) for message in messages],
                "bodies": [message.body for message in messages],
                "types": [message.endpoint.event_type for message in messages],
                "subjects": [f"webhook/{message.endpoint.id}" for message in messages],
                "data": data,
                "source": build_source(tenant.id),
                "channel": NOTIFY_CHANNEL,
                "tenant": str(tenant.id),
            },
        )
        fresh = {row[0] for row in cursor.fetchall()}
    return {message.id: Stored(message.event_id, message.event_id not in fresh) for message in messages}


def _write_rejections(tenant: TenantRef, endpoint_id: UUID, count: int, reason: str) -> None:
    try:
        with tenant_context(tenant), connection.cursor() as cursor:  # type: ignore[arg-type]
            cursor.execute(_REJECTED, [count, reason[:200], endpoint_id])
    except Exception as error:  # noqa: BLE001 - a count that is lost harms nothing
        log.warning("webhook_rejections_not_counted", count=count, error=type(error).__name__)
        connection.close()


def _load_endpoint(tenant: TenantRef, public_id: str) -> KnownEndpoint | None:
    with tenant_context(tenant):  # type: ignore[arg-type]
        row = InboundEndpoint.objects.filter(public_id=public_id).exclude(status=EndpointStatus.ARCHIVED).first()
        if row is None:
            return None
        secrets = reveal_secrets(ENDPOINT, row.id, purpose="events.verify")
        valid = tuple(secrets[name] for name in valid_fields(row.signing_keys, now()))
    rules = VerifyRules(row.scheme, row.config, valid, row.tolerance_s)
    return KnownEndpoint(row.id, tenant, row.event_type, row.status, row.max_bytes, rules)


def _answer(found: list[tuple[asyncio.Future[Any], Stored | Exception]]) -> None:
    for future, result in found:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


endpoint_cache = EndpointCache()
intake = Intake()
