"""The sockets alone as an ASGI application, for a server process of the tests."""

from __future__ import annotations

from typing import Any

import django

django.setup()

from channels.routing import URLRouter  # noqa: E402 - needs the app registry

from apps.events.api.routing import websocket_urlpatterns  # noqa: E402
from apps.events.api.tenant_scope import TenantAuthMiddleware  # noqa: E402
from apps.events.contracts import LiveKind  # noqa: E402
from apps.events.registries import live_kinds  # noqa: E402

live_kinds.register(LiveKind("nudge", "run:view"))
sockets = TenantAuthMiddleware(URLRouter(websocket_urlpatterns))


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Sockets, and the lifespan that uvicorn asks for."""
    if scope["type"] != "lifespan":
        await sockets(scope, receive, send)
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
