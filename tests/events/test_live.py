"""`/ws/live` through the real ASGI stack and a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, transaction

from apps.core.services.hints import group_name, send_hint
from apps.events.api import consumers
from apps.events.api.routing import websocket_urlpatterns
from apps.events.api.tenant_scope import TenantAuthMiddleware, is_same_origin
from apps.events.contracts import LiveKind
from apps.events.registries import live_kinds
from apps.events.services import live_access
from apps.events.services.live_limits import LiveLimits, SocketCounter, TokenBucket
from apps.tenancy.services.context import tenant_context
from tests.events.sockets import SocketClient

RUN, FLOW = LiveKind("proberun", "run:view"), LiveKind("probeflow", "flow:view")
COOKIE = settings.SESSION_COOKIE_NAME


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    """Two kinds of objects that can be watched."""
    for kind in (RUN, FLOW):
        live_kinds.register(kind)
    yield
    for kind in (RUN, FLOW):
        live_kinds._items.pop(kind.type)


@pytest.fixture
def limits(monkeypatch: Any) -> Callable[..., None]:
    """Other limits for one test."""

    def change(**values: Any) -> None:
        monkeypatch.setattr(consumers.LiveConsumer, "limits", LiveLimits(**values))

    return change


@pytest.fixture
def sign_in(committed_db: None, client_for: Any) -> Callable[..., str]:
    """Session key of a person of the tenant."""

    def build(tenant: Any, *permissions: str, user: Any = None) -> str:
        options = {"user": user} if user is not None else {"permissions": permissions or ("run:view", "flow:view")}
        return str(client_for(tenant, **options).cookies[COOKIE].value)

    return build


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


# -- the handshake --------------------------------------------------------------------------------------------------


def test_a_signed_in_person_is_let_in(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost:8000", key) as client:
            await client.send_json({"ping": 7})
            assert await client.receive_json() == {"pong": 7}

    run(scenario)


@pytest.mark.parametrize(
    ("host", "cookie", "origin"),
    [
        ("acme.localhost", None, ""),  # not signed in
        ("acme.localhost", "forged0123456789forged0123456789", ""),  # no such session
        ("acme.localhost", "../../etc/passwd", ""),  # not even a key
        ("globex.localhost", "acme", ""),  # another tenant's session
        ("nobody.localhost", "acme", ""),  # no such tenant
        ("evil-acme.localhost", "acme", ""),  # looks like one
        ("acme.localhost", "acme", "http://evil.example"),  # another site's page
        ("acme.localhost", "acme", "http://globex.localhost"),  # another tenant's page
        ("acme.localhost:8000", "acme", "http://acme.localhost:9000"),  # another port
        ("acme.localhost", "acme", "null"),  # a sandboxed frame
        ("acme.localhost", "acme", None),  # no page at all
    ],
)
def test_everybody_else_is_refused_before_the_socket_is_accepted(
    committed_acme: Any, committed_globex: Any, sign_in: Any, host: str, cookie: str | None, origin: str | None
) -> None:
    key = sign_in(committed_acme) if cookie == "acme" else cookie

    async def scenario() -> None:
        client = communicator(host, key, origin=origin)
        connected = await client.connect()
        assert not connected

    run(scenario)


def test_a_doubled_host_header_is_refused(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        connected = await communicator("acme.localhost", key, more=((b"Host", b"globex.localhost"),)).connect()
        assert not connected

    run(scenario)


def test_an_inactive_person_is_refused(committed_acme: Any, sign_in: Any, user_for: Any) -> None:
    user = user_for(committed_acme)
    key = sign_in(committed_acme, user=user)
    with tenant_context(committed_acme):
        user.is_active = False
        user.save()

    async def scenario() -> None:
        connected = await communicator("acme.localhost", key).connect()
        assert not connected

    run(scenario)


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://acme.localhost:8000", "acme.localhost:8000", True),
        ("https://acme.example", "acme.example", True),
        ("https://acme.example", "acme.example:443", True),
        ("https://ACME.example", "acme.example", True),
        ("http://acme.example:80", "acme.example", True),
        ("https://acme.example", "acme.example:80", False),
        ("https://acme.example.evil", "acme.example", False),
        ("https://acme.example@evil", "acme.example", False),
        ("https://user:pw@acme.example", "acme.example", False),
        ("file://acme.example", "acme.example", False),
        ("http://acme.example:x", "acme.example", False),
        ("", "acme.example", False),
    ],
)
def test_origins(origin: str, host: str, expected: bool) -> None:
    assert is_same_origin(origin, host) is expected


# -- hints ----------------------------------------------------------------------------------------------------------


def test_a_change_is_told_within_a_second(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with (
            socket("acme.localhost", key, "proberuns") as watches_list,
            socket("acme.localhost", key, "proberun:r1") as watches_one,
        ):
            began = time.monotonic()
            await hint(committed_acme, "proberun", "r1", status="running")
            for client in (watches_list, watches_one):
                assert await client.receive_json(2) == {
                    "kind": "proberun",
                    "id": "r1",
                    "seq": 1,
                    "facts": {"status": "running"},
                }
            assert time.monotonic() - began < 1
            await hint(committed_acme, "proberun", "r2")
            assert (await watches_list.receive_json(2))["id"] == "r2"
            assert await watches_one.receive_nothing(0.3)

    run(scenario)


def test_a_burst_about_one_object_is_one_message_with_the_last_facts(
    committed_acme: Any, sign_in: Any, limits: Any
) -> None:
    limits(flush_s=0.5)
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key, "proberuns", "proberun:r1") as client:
            layer = get_channel_layer()
            for number in range(50):
                message = {"type": "hint", "kind": "proberun", "id": "r1", "facts": {"rows": number}}
                await layer.group_send(group_name(committed_acme.id, "proberun", "r1"), message)
                await layer.group_send(group_name(committed_acme.id, "proberuns"), message)
            assert (await client.receive_json(3))["facts"] == {"rows": 49}
            assert await client.receive_nothing(0.3)

    run(scenario)


def test_too_many_changes_become_one_for_each_topic(committed_acme: Any, sign_in: Any, limits: Any) -> None:
    limits(flush_s=1.0)
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key, "proberuns", "probeflow:f1") as client:
            layer = get_channel_layer()
            for number in range(consumers.MAX_PENDING + 1):
                message = {"type": "hint", "kind": "proberun", "id": str(number), "facts": {}}
                await layer.group_send(group_name(committed_acme.id, "proberuns"), message)
            heard = [await client.receive_json(3) for _ in range(2)]
            assert {(item["kind"], item["id"]) for item in heard} == {("proberun", None), ("probeflow", "f1")}

    run(scenario)


def test_the_second_tenant_hears_nothing_even_about_ids_it_guesses(
    committed_acme: Any, committed_globex: Any, sign_in: Any
) -> None:
    key = sign_in(committed_globex)
    foreign = f"proberun:{committed_acme.id}"

    async def scenario() -> None:
        async with socket("globex.localhost", key, "proberuns", "proberun:r1", foreign) as client:
            for topic in (
                f"t.{committed_acme.id}.proberuns",
                f"proberun:..{committed_acme.id}",
                "proberun:*",
                "proberun:",
            ):
                await client.send_json({"subscribe": [topic]})
                [refusal] = (await client.receive_json())["refused"]
                assert refusal["code"] == "events.topic_unknown"
            for object_id in ("r1", str(committed_acme.id)):
                await hint(committed_acme, "proberun", object_id)
            assert await client.receive_nothing(0.5)

    run(scenario)


def test_a_rolled_back_change_is_not_told(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme)

    def change_and_fail() -> None:
        with contextlib.suppress(ZeroDivisionError), tenant_context(committed_acme), transaction.atomic():
            send_hint(committed_acme.id, "proberun", "r1")
            raise ZeroDivisionError

    async def scenario() -> None:
        async with socket("acme.localhost", key, "proberuns") as client:
            await in_thread(change_and_fail)
            assert await client.receive_nothing(0.4)

    run(scenario)


def test_unsubscribing_ends_it(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key, "proberuns") as client:
            await client.send_json({"unsubscribe": ["proberuns", "never"]})
            assert await client.receive_json() == {"unsubscribed": ["proberuns"]}
            await hint(committed_acme, "proberun", "r1")
            assert await client.receive_nothing(0.4)

    run(scenario)


# -- rights ---------------------------------------------------------------------------------------------------------


def test_each_kind_needs_its_permission(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme, "run:view")

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            await client.send_json({"subscribe": ["proberuns", "probeflows", "probeflow:f1", "passwords"]})
            assert await client.receive_json() == {
                "subscribed": ["proberuns"],
                "refused": [
                    {"topic": "probeflows", "code": "access.permission_denied"},
                    {"topic": "probeflow:f1", "code": "access.permission_denied"},
                    {"topic": "passwords", "code": "events.topic_unknown"},
                ],
            }
            await hint(committed_acme, "probeflow", "f1")
            assert await client.receive_nothing(0.4)

    run(scenario)


def test_a_signed_out_person_is_disconnected(committed_acme: Any, sign_in: Any, limits: Any) -> None:
    limits(revalidate_s=0.3)
    key = sign_in(committed_acme)

    def sign_out() -> None:
        with tenant_context(committed_acme):
            Session.objects.filter(session_key=key).delete()

    async def scenario() -> None:
        async with socket("acme.localhost", key, "proberuns") as client:
            assert await client.receive_nothing(0.8)  # several checks, still signed in
            await in_thread(sign_out)
            assert await client.closed_with() == 4401

    run(scenario)


def test_a_lost_permission_ends_the_subscription(committed_acme: Any, sign_in: Any, user_for: Any, limits: Any) -> None:
    limits(revalidate_s=0.3)
    user = user_for(committed_acme, permissions=("run:view", "flow:view"))
    key = sign_in(committed_acme, user=user)

    def change(*permissions: str) -> None:
        with tenant_context(committed_acme):
            user.roles.update(permissions=list(permissions))

    async def scenario() -> None:
        async with socket("acme.localhost", key, "proberuns", "probeflows") as client:
            await in_thread(lambda: change("run:view"))
            assert await client.receive_json(5) == {"unsubscribed": ["probeflows"]}
            await hint(committed_acme, "probeflow", "f1")
            await hint(committed_acme, "proberun", "r1")
            assert (await client.receive_json(2))["kind"] == "proberun"
            await in_thread(lambda: change())
            assert await client.closed_with() == 4403

    run(scenario)


# -- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["x" * 5000, json.dumps({"subscribe": ["r" * 5000]})])
def test_a_long_frame_closes_the_socket(committed_acme: Any, sign_in: Any, text: str) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            await client.send_text(text)
            assert await client.closed_with() == 1009

    run(scenario)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "[" * 2000, "null"])
def test_what_is_no_message_closes_the_socket(committed_acme: Any, sign_in: Any, text: str) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            await client.send_text(text)
            assert await client.closed_with() == 4400

    run(scenario)


def test_binary_frames_close_the_socket(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            await client.send_bytes(b"\x00")
            assert await client.closed_with() == 1009

    run(scenario)


@pytest.mark.parametrize("value", [None, 5, "proberuns", [5, None], [["proberuns"]], {}])
def test_odd_subscriptions_are_ignored(committed_acme: Any, sign_in: Any, value: Any) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            await client.send_json({"subscribe": value})
            assert await client.receive_json() == {"subscribed": [], "refused": []}

    run(scenario)


def test_a_flood_closes_the_socket(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            for _ in range(40):
                await client.send_json({"ping": 1})
            assert await client.closed_with() == 4429

    run(scenario)


def test_subscriptions_are_bounded(committed_acme: Any, sign_in: Any, limits: Any) -> None:
    limits(topics=3)
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            await client.send_json({"subscribe": [f"proberun:{number}" for number in range(5)]})
            answer = await client.receive_json()
            assert len(answer["subscribed"]) == 3
            assert [item["code"] for item in answer["refused"]] == ["events.too_many_topics"] * 2

    run(scenario)


def test_sockets_of_a_person_are_bounded(committed_acme: Any, sign_in: Any, user_for: Any, limits: Any) -> None:
    limits(sockets=2)
    user = user_for(committed_acme)
    key = sign_in(committed_acme, user=user)

    async def scenario() -> None:
        async with socket("acme.localhost", key), socket("acme.localhost", key):
            connected = await communicator("acme.localhost", key).connect()
            assert not connected
        async with socket("acme.localhost", key):  # those that ended do not count
            pass

    run(scenario)


def test_the_token_bucket_refills() -> None:
    moment = [0.0]
    bucket = TokenBucket(2, 1.0, clock=lambda: moment[0])

    assert [bucket.take() for _ in range(3)] == [True, True, False]
    moment[0] = 1.0
    assert [bucket.take() for _ in range(2)] == [True, False]
    moment[0] = 100.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_the_socket_counter_forgets_people_who_left() -> None:
    counter = SocketCounter()

    assert [counter.enter("p", 1), counter.enter("p", 1), counter.enter("q", 1)] == [True, False, True]
    counter.leave("p")
    assert counter.enter("p", 1)
