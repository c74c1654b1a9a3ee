"""`GET /api/v2/events/stream`: the log as server-sent events, resumable by cursor."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import structlog
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.authentication import get_authorization_header
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.access.contracts import Actor
from apps.access.services.api_keys import authenticate_api_key
from apps.access.services.http import HasPermission, actor_of
from apps.core.exceptions import LimitExceeded
from apps.events.api.inputs import read_input
from apps.events.services.event_stream import find_start, follow_events, in_thread
from apps.events.services.live_access import find_session_actor
from apps.events.services.live_limits import SocketCounter
from apps.tenancy.contracts import TenantRef
from apps.tenancy.services.context import require_tenant, tenant_context

log = structlog.get_logger(__name__)

PERMISSION = "event:view"
STREAMS_PER_ACTOR = 10
REVALIDATE_S = 30.0
RETRY_MS = 3000

_open_streams = SocketCounter()


class TooManyStreams(LimitExceeded):
    """Too many event streams are open."""

    code = "events.too_many_streams"


class AnyNegotiation(BaseContentNegotiation):
    """Browsers ask for `text/event-stream`, which no renderer of the API offers; errors stay JSON."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        """The first parser; there is no body."""
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        """The first renderer, for errors."""
        return renderers[0], renderers[0].media_type


class StreamInput(serializers.Serializer):
    """Where to begin, and what to send."""

    after = serializers.IntegerField(
        required=False,
        min_value=0,
        help_text="`sequence` that was handled last; `Last-Event-ID` wins. Absent: new ones.",
    )
    types = serializers.CharField(required=False, max_length=2000, help_text="Comma-separated; `*` matches any part.")


class EventStreamView(APIView):
    """The log, live."""

    permission_classes = [HasPermission.of(read=PERMISSION)]
    content_negotiation_class = AnyNegotiation

    @extend_schema(
        operation_id="events_stream",
        summary="Event log as server-sent events",
        tags=["events"],
        parameters=[
            StreamInput,
            OpenApiParameter("Last-Event-ID", OpenApiTypes.STR, OpenApiParameter.HEADER, description="Cursor."),
        ],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """`id:` is the cursor, `event:` the type, `data:` the CloudEvent. `gap` says that retention removed events."""
        given = read_input(StreamInput, request.query_params)
        last = request.headers.get("Last-Event-ID", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else given.get("after")
        types = [part.strip() for part in given.get("types", "*").split(",") if part.strip()] or ["*"]
        actor = actor_of(request)
        by_key = actor.kind == "api_key"
        proof = get_authorization_header(request).split()[-1].decode() if by_key else request.session.session_key or ""
        response = StreamingHttpResponse(
            _stream(require_tenant(), actor, proof, after, types), content_type="text/event-stream"
        )
        response["Cache-Control"] = "no-store"
        response["X-Accel-Buffering"] = "no"
        place = (require_tenant().id, actor.id)
        if not _open_streams.enter(place, STREAMS_PER_ACTOR):
            raise TooManyStreams(f"At most {STREAMS_PER_ACTOR} streams may be open at a time.")
        _open_streams.leave(place)
        return response


async def _stream(
    tenant: TenantRef, actor: Actor, proof: str, after: int | None, types: list[str]
) -> AsyncIterator[bytes]:
    place = (tenant.id, actor.id)
    if not _open_streams.enter(place, STREAMS_PER_ACTOR):
        return
    try:
        position, missing = await find_start(tenant, after)
        yield f"retry: {RETRY_MS}\n\n".encode()
        if missing:
            yield _block("gap", position, {"missing": missing})
        checked = time.monotonic()
        async for cursor, events in follow_events(tenant, after=position, types=types):
            if time.monotonic() - checked >= REVALIDATE_S:
                checked = time.monotonic()
                if not await _may_go_on(tenant, actor, proof):
                    yield _block("closed", cursor, {"code": "access.permission_denied"})
                    return
            for event in events:
                yield _block(event.type, event.position or cursor, event.to_cloudevent())
            if not events:
                yield f": {cursor}\n\n".encode()
    except asyncio.CancelledError:
        log.info("event_stream_left", tenant=tenant.slug)
        raise
    finally:
        _open_streams.leave(place)


async def _may_go_on(tenant: TenantRef, actor: Actor, proof: str) -> bool:
    """Whether the session or key that opened the stream still allows it."""
    if actor.kind == "api_key":
        return bool(await in_thread(_key_allows, tenant, proof))
    found = await in_thread(find_session_actor, tenant.id, proof)
    return found is not None and found.id == actor.id and found.has(PERMISSION)


def _key_allows(tenant: TenantRef, token: str) -> bool:
    with tenant_context(tenant):  # type: ignore[arg-type]
        found = authenticate_api_key(token)
    return found is not None and found[1].has(PERMISSION)


def _block(name: str, cursor: int, data: dict[str, Any]) -> bytes:
    return f"id: {cursor}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
