"""`/ws/live`: tells a browser which objects have changed.

From the browser:   {"subscribe": ["runs", "run:<id>"]}   {"unsubscribe": [...]}   {"ping": 1}
From the server:    {"kind", "id", "seq", "facts"}        {"subscribed": [...], "refused": [{"topic", "code"}]}
                    {"unsubscribed": [...]}               {"pong": 1}

The log itself, resumable (needs `event:view`); one stream a socket, null ends it:
From the browser:   {"stream": {"after": <sequence or null>, "types": ["run.*"]}}
From the server:    {"stream": {"cursor", "missing"}}     {"event": {CloudEvent}, "cursor"}     {"stream": null, "code"}

A hint is never the truth. The medium below may lose one, so a page re-reads when it connects and when it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from typing import Any, ClassVar

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from apps.access.contracts import Actor
from apps.core.services.hints import group_name
from apps.events.api.tenant_scope import CLOSE_FORBIDDEN, CLOSE_SIGNED_OUT
from apps.events.contracts import LiveKind
from apps.events.registries import find_live_kind, live_kinds
from apps.events.services.event_stream import find_start, follow_events
from apps.events.services.live_access import executor, find_session_actor
from apps.events.services.live_limits import LiveLimits, SocketCounter, TokenBucket

log = structlog.get_logger(__name__)

OBJECT_ID = re.compile(r"^[A-Za-z0-9_-]{1,40}$")
CLOSE_BAD_DATA = 4400
CLOSE_TOO_LARGE = 1009
CLOSE_TOO_MANY = 4429
CLOSE_BROKEN = 1011
MAX_PENDING = 500
MAX_TYPES = 50
STREAM_PERMISSION = "event:view"

_open_sockets = SocketCounter()


class LiveConsumer(AsyncWebsocketConsumer):
    """One browser's socket. Tenant and person come from `TenantAuthMiddleware` and are checked again by time."""

    limits: ClassVar[LiveLimits] = LiveLimits()

    async def connect(self) -> None:
        """Accept; the middleware has refused everybody else."""
        self.tenant = self.scope["tenant"]
        self.actor: Actor = self.scope["actor"]
        self.seq = 0
        self.topics: dict[str, tuple[LiveKind, str]] = {}
        self.pending: dict[tuple[str, str | None], dict[str, Any]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.flushing = False
        self.stream: asyncio.Task[None] | None = None
        self.counted = False
        self.bucket = TokenBucket(self.limits.messages, self.limits.messages_per_s)
        if not _open_sockets.enter((self.tenant.id, self.actor.id), self.limits.sockets):
            log.warning("live_too_many_sockets", tenant=self.tenant.slug, user_id=str(self.actor.id))
            await self.close(code=CLOSE_TOO_MANY)
            return
        self.counted = True
        await self.accept()
        self._start(self._revalidate())

    async def disconnect(self, code: int) -> None:
        """Leave every group and stop the timers."""
        for task in list(self.tasks):
            task.cancel()
        if self.counted:
            self.counted = False
            _open_sockets.leave((self.tenant.id, self.actor.id))
        for _kind, group in self.topics.values():
            with contextlib.suppress(Exception):
                await self.channel_layer.group_discard(group, self.channel_name)
        self.topics = {}

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """One message of the browser, within the limits."""
        if text_data is None or len(text_data.encode()) > self.limits.frame_bytes:
            await self.close(code=CLOSE_TOO_LARGE)
            return
        if not self.bucket.take():
            log.warning("live_flood", tenant=self.tenant.slug, user_id=str(self.actor.id))
            await self.close(code=CLOSE_TOO_MANY)
            return
        try:
            message = json.loads(text_data)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            await self.close(code=CLOSE_BAD_DATA)
            return
        try:
            if "ping" in message:
                await self._send({"pong": message["ping"] if isinstance(message["ping"], int) else 1})
            if "subscribe" in message:
                await self._subscribe(_topics_of(message["subscribe"]))
            if "unsubscribe" in message:
                await self._unsubscribe(_topics_of(message["unsubscribe"]))
            if "stream" in message:
                await self._restart_stream(message["stream"])
        except Exception as error:  # noqa: BLE001 - each channel layer has its own errors
            # The layer is away: without it the socket is of no use, the page polls and comes back.
            log.warning("live_layer_failed", tenant=self.tenant.slug, error=f"{type(error).__name__}: {error}")
            await self.close(code=CLOSE_BROKEN)

    async def hint(self, message: dict[str, Any]) -> None:
        """A hint from the channel layer; sent with the next flush, once for all that concern the same object."""
        if len(self.pending) >= MAX_PENDING:
            # Too much has changed to list it: what is watched has to be read again anyway.
            self.pending = {(kind.type, _id_of(topic)): {} for topic, (kind, _) in self.topics.items()}
        self.pending.setdefault((message["kind"], message["id"]), {}).update(message["facts"])
        if not self.flushing:
            self.flushing = True
            self._start(self._flush())

    async def _flush(self) -> None:
        try:
            await asyncio.sleep(self.limits.flush_s)
            while self.pending:
                hints, self.pending = self.pending, {}
                for (kind, object_id), facts in hints.items():
                    self.seq += 1
                    await self._send({"kind": kind, "id": object_id, "seq": self.seq, "facts": facts})
        finally:
            self.flushing = False

    async def _subscribe(self, topics: list[str]) -> None:
        refused: list[dict[str, str]] = []
        for topic in topics:
            code = self._refusal_of(topic)
            if code is not None:
                refused.append({"topic": topic[:80], "code": code})
            elif topic not in self.topics:
                kind, group = self._resolve(topic)
                await self.channel_layer.group_add(group, self.channel_name)
                self.topics[topic] = (kind, group)
        await self._send({"subscribed": sorted(self.topics), "refused": refused})

    async def _unsubscribe(self, topics: list[str]) -> None:
        gone = [topic for topic in topics if topic in self.topics]
        for topic in gone:
            await self._leave(topic)
        await self._send({"unsubscribed": gone})

    async def _leave(self, topic: str) -> None:
        _kind, group = self.topics.pop(topic)
        if all(other != group for _, other in self.topics.values()):
            await self.channel_layer.group_discard(group, self.channel_name)

    async def _restart_stream(self, wanted: Any) -> None:
        if self.stream is not None:
            self.stream.cancel()
            self.stream = None
        if wanted is None:
            await self._send({"stream": None})
            return
        after = wanted.get("after") if isinstance(wanted, dict) else False
        types = wanted.get("types", ["*"]) if isinstance(wanted, dict) else []
        sound = after is None or (isinstance(after, int) and not isinstance(after, bool) and 0 <= after < 2**63)
        if not sound or not isinstance(types, list) or not all(isinstance(one, str) for one in types[:MAX_TYPES]):
            await self._send({"stream": None, "code": "events.stream_invalid"})
        elif not self.actor.has(STREAM_PERMISSION):
            await self._send({"stream": None, "code": "access.permission_denied"})
        else:
            self.stream = self._start(self._stream(after, types[:MAX_TYPES]))

    async def _stream(self, after: int | None, types: list[str]) -> None:
        position, missing = await find_start(self.tenant, after)
        await self._send({"stream": {"cursor": position, "missing": missing}})
        async for cursor, events in follow_events(self.tenant, after=position, types=types):
            if not self.actor.has(STREAM_PERMISSION):
                self.stream = None
                await self._send({"stream": None, "code": "access.permission_denied"})
                return
            for event in events:
                await self._send({"event": event.to_cloudevent(), "cursor": event.position or cursor})

    def _refusal_of(self, topic: str) -> str | None:
        name, _, object_id = topic.partition(":")
        kind = find_live_kind(name)
        if kind is None or (":" in topic and not OBJECT_ID.match(object_id)):
            return "events.topic_unknown"
        if not self.actor.has(kind.permission):
            return "access.permission_denied"
        if topic not in self.topics and len(self.topics) >= self.limits.topics:
            return "events.too_many_topics"
        return None

    def _resolve(self, topic: str) -> tuple[LiveKind, str]:
        """Kind and group of a topic; the tenant is always the socket's own."""
        name, _, object_id = topic.partition(":")
        kind = find_live_kind(name)
        if kind is None:
            raise KeyError(topic)
        if object_id:
            return kind, group_name(self.tenant.id, kind.type, object_id)
        return kind, group_name(self.tenant.id, f"{kind.type}s")

    async def _revalidate(self) -> None:
        """Ask every 30 s whether the person may still see what is watched."""
        while True:
            # Spread, so that the sockets of a restarted server do not ask all at once.
            await asyncio.sleep(self.limits.revalidate_s * random.uniform(0.8, 1.0))
            find = database_sync_to_async(find_session_actor, thread_sensitive=False, executor=executor)
            try:
                actor = await find(self.tenant.id, self.scope["session_key"])
            except Exception as error:  # noqa: BLE001 - a database that is away is asked again, not taken for a sign-out
                log.warning("live_revalidation_failed", tenant=self.tenant.slug, error=type(error).__name__)
                continue
            if actor is None or actor.id != self.actor.id:
                await self.close(code=CLOSE_SIGNED_OUT)
                return
            self.actor = actor
            lost = [topic for topic, (kind, _) in self.topics.items() if not actor.has(kind.permission)]
            for topic in lost:
                await self._leave(topic)
            if lost:
                await self._send({"unsubscribed": lost})
            kinds = live_kinds.all()
            if kinds and not any(actor.has(kind.permission) for kind in kinds) and not actor.has(STREAM_PERMISSION):
                await self.close(code=CLOSE_FORBIDDEN)
                return

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Usually the browser has gone in the middle of a send; `disconnect` follows.
            log.info("live_task_ended", tenant=self.tenant.slug, error=repr(task.exception()))

    async def _send(self, message: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(message, separators=(",", ":")))


def _topics_of(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return [topic for topic in value if isinstance(topic, str)]


def _id_of(topic: str) -> str | None:
    return topic.partition(":")[2] or None
