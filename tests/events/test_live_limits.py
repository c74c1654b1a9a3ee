"""`/ws/live`: rights that are lost while a socket is open, and limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.sessions.models import Session

from apps.events.services.live_limits import SocketCounter, TokenBucket
from apps.tenancy.services.context import tenant_context
from tests.events.live_helpers import communicator, hint, in_thread, run, socket

pytestmark = pytest.mark.usefixtures("kinds")

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
