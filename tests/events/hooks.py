"""A receiver of webhooks on this machine, and short ways through publish, fan-out and dispatch."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from apps.access.contracts import Actor
from apps.core.ids import uuid7
from apps.events.models import Delivery, EventSubscription
from apps.events.services.dispatcher import Dispatcher, DispatcherOptions
from apps.events.services.fan_out import FanOut
from apps.events.services.numbering import number_events
from apps.events.services.outbox import publish_event
from apps.events.services.subscriptions import create_subscription
from tests.events.factories import visit

SYSTEM = Actor.system("tests")


@dataclass
class Received:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Receiver:
    """Answers by path; remembers what came. `answers[path]` is a status, or a coroutine that makes the response."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def of(self, path: str = "/hook") -> list[Received]:
        return [one for one in self.requests if one.path == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(request.path, headers, body, time.monotonic()))
        answer = self.answers.get(request.path, 204)
        return web.Response(status=answer) if isinstance(answer, int) else await answer(request)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """The receiver, in a thread of its own."""
    receiver = Receiver()
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", receiver.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        ready.set()
        return runner

    runner: list[web.AppRunner] = []

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner.append(loop.run_until_complete(start()))
        loop.run_forever()
        loop.run_until_complete(runner[0].cleanup())
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@contextmanager
def dispatching(**options: Any) -> Iterator[Dispatcher]:
    """A dispatcher, in a thread of its own."""
    dispatcher = Dispatcher(DispatcherOptions(**{"poll_s": 0.2, **options}))
    thread = threading.Thread(target=dispatcher.run, daemon=True)
    thread.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        thread.join(20)
        assert not thread.is_alive()


def subscribe(url: str = "https://example.com/hook", **settings: Any) -> EventSubscription:
    """A subscription to the test events, in the current tenant."""
    row, _secret = subscribe_with_secret(url, **settings)
    return row


def subscribe_with_secret(url: str, **settings: Any) -> tuple[EventSubscription, str]:
    """The subscription and its signing secret."""
    options = {"types": ["probe.*"], **settings}
    row, secret = create_subscription(f"test {uuid7()}", target="webhook", config={"url": url}, actor=SYSTEM, **options)
    assert secret is not None
    return row, secret


def publish(*numbers: int, key: str = "k", subject: str = "probe/1", **data: Any) -> None:
    """Publish test events."""
    for number in numbers:
        publish_event("probe.sent.v1", subject=subject, key=key, data={"number": number, **data})


def fan_out() -> None:
    """Number what was published and queue its deliveries."""
    while number_events().more:
        pass
    while visit(FanOut()).lagging:
        pass


def deliveries(subscription: EventSubscription) -> list[Delivery]:
    """Its deliveries, in the order of their lanes."""
    return list(Delivery.objects.filter(subscription=subscription).select_related("event").order_by("number"))


def eventually(check: Callable[[], Any], *, timeout_s: float = 20.0) -> Any:
    """Wait until the check gives something true."""
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found
