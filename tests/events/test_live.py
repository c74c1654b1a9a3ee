"""`/ws/live` through the real ASGI stack and a real Valkey: the handshake and the hints."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db import transaction

from apps.core.services.hints import group_name, send_hint
from apps.events.api import consumers
from apps.events.api.tenant_scope import is_same_origin
from apps.tenancy.services.context import tenant_context
from tests.events.live_helpers import communicator, hint, in_thread, run, socket

pytestmark = pytest.mark.usefixtures("kinds")

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


def test_too_many_changes_become_one_for_each_topic(
    committed_acme: Any, sign_in: Any, limits: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(consumers, "MAX_PENDING", 5)
    limits(flush_s=2.0)
    key = sign_in(committed_acme)

    async def scenario() -> None:
        async with socket("acme.localhost", key, "proberuns", "probeflow:f1") as client:
            layer = get_channel_layer()
            for number in range(6):
                message = {"type": "hint", "kind": "proberun", "id": str(number), "facts": {}}
                await layer.group_send(group_name(committed_acme.id, "proberuns"), message)
            heard = [await client.receive_json(5) for _ in range(2)]
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
