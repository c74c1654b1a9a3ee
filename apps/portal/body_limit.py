"""Bounds request bodies before Django sees them: its ASGI handler writes a whole body to disk before the first view."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

from apps.connectors.exceptions import UploadTooLarge
from apps.core.api.problems import problem_document
from apps.core.exceptions import PortalError, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Django and Channels type the three arguments differently; what they do with them is the same.
Application = Callable[[Any, Any, Any], Awaitable[None]]

UPLOADS = re.compile(r"^/api/v2/connections/[0-9a-f-]{36}/uploads$")
MULTIPART_BYTES = 64 * 1024
"""Room for the parts' headers around an uploaded file."""
OTHER_MAX_BYTES = 8 * 1024**2


class _BodyTooLarge(Exception):
    pass


class BodyLimit:
    """Answers 413 to a body that announces itself as too large, or that grows beyond the limit while it arrives."""

    def __init__(self, application: Application) -> None:
        """Wrap Django's ASGI application."""
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its body."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        limit = _limit_of(scope["path"])
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit:
            await _refuse(scope, send)
            return
        received, answered = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _BodyTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._application(scope, counted, noted)
        except _BodyTooLarge:
            if not answered:
                await _refuse(scope, send)


def _limit_of(path: str) -> int:
    return settings.UPLOAD_MAX_BYTES + MULTIPART_BYTES if UPLOADS.match(path) else OTHER_MAX_BYTES


async def _refuse(scope: Scope, send: Send) -> None:
    error: PortalError
    if UPLOADS.match(scope["path"]):
        most = settings.UPLOAD_MAX_BYTES
        error = UploadTooLarge(f"An upload may have {most / 1024**2:,.0f} MB.", limit_bytes=most)
    else:
        error = TooLarge(f"A request may have {OTHER_MAX_BYTES // 1024**2} MB.", limit_bytes=OTHER_MAX_BYTES)
    body = json.dumps(problem_document(error, instance=scope["path"]), default=str).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        # What is left of the body is not read, so nothing else can come over this connection.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
