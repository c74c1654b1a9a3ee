"""What tests of the live socket share: a client on the real ASGI stack and hints sent as a worker would."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.conf import settings
from django.db import connection, transaction

from apps.core.services.hints import send_hint
from apps.events.api.routing import websocket_urlpatterns
from apps.events.api.tenant_scope import TenantAuthMiddleware
from apps.events.services import live_access
from apps.tenancy.services.context import tenant_context
from tests.events.sockets import SocketClient

COOKIE = settings.SESSION_COOKIE_NAME


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await asyncio.wait_for(scenario(), 30)
        finally:
            await get_channel_layer().flush()

    try:
        asyncio.run(whole())
    finally:
        close_connections()


def close_connections() -> None:
    """The threads that check sockets outlive a test; their connections must not."""
    together = threading.Barrier(live_access.CHECK_THREADS)

    def close() -> None:
        together.wait(10)
        connection.close()

    for work in [live_access.executor.submit(close) for _ in range(live_access.CHECK_THREADS)]:
        work.result(10)


def communicator(
    host: str, session_key: str | None, *, origin: str | None = "", more: tuple[tuple[bytes, bytes], ...] = ()
) -> SocketClient:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", (origin or f"http://{host}").encode()))
    if session_key is not None:
        headers.append((b"cookie", f"theme=dark; {COOKIE}={session_key}".encode()))
    headers += more
    return SocketClient(TenantAuthMiddleware(URLRouter(websocket_urlpatterns)), "/ws/live", headers)


@contextlib.asynccontextmanager
async def socket(host: str, session_key: str, *topics: str) -> AsyncIterator[SocketClient]:
    client = communicator(host, session_key)
    connected = await client.connect()
    assert connected
    try:
        if topics:
            await client.send_json({"subscribe": list(topics)})
            assert (await client.receive_json(5))["refused"] == []
            await asyncio.sleep(0.15)  # the layer's own subscription
        yield client
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await client.disconnect()


async def in_thread(work: Callable[[], Any]) -> Any:
    def call() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return await asyncio.to_thread(call)


async def hint(tenant: Any, kind: str, object_id: str, **facts: Any) -> None:
    """As a worker would: in its own thread and transaction."""

    def change() -> None:
        with tenant_context(tenant), transaction.atomic():
            send_hint(tenant.id, kind, object_id, **facts)

    await in_thread(change)
