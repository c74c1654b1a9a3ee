"""ASGI middleware of sockets: which tenant, which person, from which page; all before the handshake is accepted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import structlog
from channels.db import database_sync_to_async
from django.conf import settings

from apps.events.services.live_access import executor, find_session_actor, find_tenant_of_host

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]
Application = Callable[[Scope, Channel, Channel], Awaitable[Any]]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
CLOSE_SIGNED_OUT = 4401
CLOSE_FORBIDDEN = 4403


class TenantAuthMiddleware:
    """Puts `tenant`, `session_key` and `actor` into the scope, or refuses the handshake (HTTP 403).

    The tenant is the one whose domain the Host header names exactly; the session is looked up in that tenant's schema,
    so a cookie of another tenant is unknown. The Origin must be the host itself: a page of another site cannot open a
    socket with the visitor's cookie.
    """

    def __init__(self, inner: Application) -> None:
        """Wrap the router of the sockets."""
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> Any:
        """Check one handshake."""
        headers = _headers(scope)
        host = headers.get("host", "")
        tenant = (
            await database_sync_to_async(find_tenant_of_host, thread_sensitive=False, executor=executor)(host)
            if host
            else None
        )
        if tenant is None:
            return await _refuse(send, CLOSE_FORBIDDEN, "unknown_host", host)
        if not is_same_origin(headers.get("origin", ""), host):
            return await _refuse(send, CLOSE_FORBIDDEN, "foreign_origin", host)
        session_key = _session_key(headers.get("cookie", ""))
        actor = None
        if session_key:
            actor = await database_sync_to_async(find_session_actor, thread_sensitive=False, executor=executor)(
                tenant.id, session_key
            )
        if actor is None:
            return await _refuse(send, CLOSE_SIGNED_OUT, "not_signed_in", host)
        return await self._inner({**scope, "tenant": tenant, "session_key": session_key, "actor": actor}, receive, send)


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a page of `origin` belongs to `host` (name and port; the scheme's default port may be left out)."""
    try:
        page = urlsplit(origin)
        wanted = urlsplit(f"//{host}")
        if page.scheme not in ("http", "https") or not page.hostname or page.username or page.password:
            return False
        default = DEFAULT_PORTS[page.scheme]
        return page.hostname == wanted.hostname and (page.port or default) == (wanted.port or default)
    except ValueError:
        return False


def _headers(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; one that comes twice is dropped, because peers disagree on which counts."""
    found: dict[str, str] = {}
    doubled: set[str] = set()
    for raw_name, raw_value in scope.get("headers", []):
        name = raw_name.decode("latin-1").lower()
        if name in found:
            doubled.add(name)
        found[name] = raw_value.decode("latin-1")
    return {name: value for name, value in found.items() if name not in doubled}


def _session_key(cookie: str) -> str | None:
    try:
        morsel = SimpleCookie(cookie).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return morsel.value if morsel is not None and morsel.value.isalnum() else None


async def _refuse(send: Channel, code: int, reason: str, host: str) -> None:
    log.info("live_refused", reason=reason, host=host[:100])
    await send({"type": "websocket.close", "code": code})
