"""The log as server-sent events and over the socket: from a cursor, without a gap, for those who may see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from apps.access.services.api_keys import create_api_key, revoke_api_key
from apps.access.services.http import actor_for_user
from apps.events.api import stream
from apps.events.models import StreamHead
from apps.events.selectors import get_head_position
from apps.events.services import event_stream
from apps.events.services.numbering import number_events
from apps.tenancy.services.context import tenant_context
from tests.events.hooks import publish
from tests.events.live_helpers import in_thread, run, socket

pytestmark = pytest.mark.committed
ROOT = "/api/v2/events/stream"


def emit(tenant: Any, *numbers: int) -> int:
    with tenant_context(tenant):
        publish(*numbers, key="stream")
        while number_events().more:
            pass
        return get_head_position()


async def take(source: AsyncIterator[bytes], count: int) -> list[dict[str, str]]:
    """That many events, then hang up as a browser does; whatever is not an event is passed over."""
    found: list[dict[str, str]] = []
    try:
        async with asyncio.timeout(20):
            async for chunk in source:
                block = {
                    name: value for name, _, value in (line.partition(": ") for line in chunk.decode().split("\n"))
                }
                if "data" in block:
                    found.append(block)
                if len(found) == count:
                    break
    finally:
        await source.aclose()  # type: ignore[attr-defined]
    return found


def open_stream(client: Any, query: str = "", **headers: str) -> AsyncIterator[bytes]:
    """The body of a streaming answer, as the server would iterate it."""
    answer = client.get(f"{ROOT}{query}", headers=headers)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    assert answer["Cache-Control"] == "no-store"
    return answer.streaming_content


def numbers(found: list[dict[str, str]]) -> list[int]:
    return [json.loads(block["data"])["data"]["number"] for block in found]


def test_a_stream_resumes_after_the_cursor_and_goes_on_live(committed_acme: Any, api_for: Any) -> None:
    client = api_for(committed_acme, permissions=("event:view",))
    start = emit(committed_acme)
    emit(committed_acme, 1, 2, 3)
    query = f"?after={start}&types=probe.*"
    opened = open_stream(client, query)
    again = open_stream(client, query, last_event_id=str(start + 2))

    async def scenario() -> None:
        first = await take(opened, 2)
        assert numbers(first) == [1, 2]
        assert [int(block["id"]) for block in first] == [start + 1, start + 2]
        assert first[0]["event"] == "com.analytics-portal.probe.sent.v1"
        waiting = asyncio.ensure_future(take(again, 3))
        await asyncio.sleep(0.5)
        await in_thread(lambda: emit(committed_acme, 4, 5))
        assert numbers(await waiting) == [3, 4, 5]

    run(scenario)


def test_without_a_cursor_only_new_events_come_and_types_are_kept_apart(committed_acme: Any, api_for: Any) -> None:
    client = api_for(committed_acme, permissions=("event:view",))
    emit(committed_acme, 1)
    opened, other = open_stream(client), open_stream(client, "?types=alarm.*")

    async def scenario() -> None:
        waiting, silent = asyncio.ensure_future(take(opened, 1)), asyncio.ensure_future(take(other, 1))
        await asyncio.sleep(0.6)
        await in_thread(lambda: emit(committed_acme, 2))
        assert numbers(await waiting) == [2]
        assert not silent.done()
        silent.cancel()
        await asyncio.gather(silent, return_exceptions=True)

    run(scenario)


def test_a_gap_that_retention_made_is_said(committed_acme: Any, api_for: Any) -> None:
    head = emit(committed_acme, 1, 2)
    with tenant_context(committed_acme):
        former = StreamHead.objects.get().purged_to
        StreamHead.objects.update(purged_to=head - 1)
    opened = open_stream(api_for(committed_acme, permissions=("event:view",)), "?after=0")

    async def scenario() -> None:
        first, second = await take(opened, 2)
        assert (first["event"], json.loads(first["data"])) == ("gap", {"missing": head - 1})
        assert int(second["id"]) == head

    try:
        run(scenario)
    finally:
        with tenant_context(committed_acme):
            StreamHead.objects.update(purged_to=former)


def test_who_may_not_see_events_gets_no_stream(
    committed_acme: Any, committed_globex: Any, api_for: Any, client: Any
) -> None:
    assert api_for(committed_acme, permissions=("run:view",)).get(ROOT).status_code == 403
    assert client.get(ROOT, headers={"host": "acme.localhost"}).status_code == 401
    seeing = api_for(committed_acme, permissions=("event:view",))
    assert seeing.get(ROOT, HTTP_HOST="globex.localhost").status_code == 401


def test_the_second_tenants_events_do_not_come(committed_acme: Any, committed_globex: Any, api_for: Any) -> None:
    opened = open_stream(api_for(committed_acme, permissions=("event:view",)))

    async def scenario() -> None:
        waiting = asyncio.ensure_future(take(opened, 1))
        await asyncio.sleep(0.5)
        await in_thread(lambda: emit(committed_globex, 66))
        await asyncio.sleep(0.7)
        await in_thread(lambda: emit(committed_acme, 7))
        assert numbers(await waiting) == [7]

    run(scenario)


def test_a_revoked_key_ends_its_stream(committed_acme: Any, user_for: Any, client: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(stream, "REVALIDATE_S", 0.0)
    monkeypatch.setattr(event_stream, "QUIET_S", 0.2)
    person = user_for(committed_acme)
    with tenant_context(committed_acme):
        actor = actor_for_user(person)
        key, token = create_api_key("stream", scopes=["event:view"], actor=actor)
    opened = open_stream(client, host="acme.localhost", authorization=f"Bearer {token}")

    def revoke() -> None:
        with tenant_context(committed_acme):
            revoke_api_key(key.id, actor=actor)

    async def scenario() -> None:
        waiting = asyncio.ensure_future(take(opened, 1))
        await asyncio.sleep(0.8)
        assert not waiting.done()
        await in_thread(revoke)
        [last] = await waiting
        assert last["event"] == "closed"

    run(scenario)


def test_a_session_that_ended_ends_its_stream(committed_acme: Any, api_for: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(stream, "REVALIDATE_S", 0.0)
    monkeypatch.setattr(event_stream, "QUIET_S", 0.2)
    client = api_for(committed_acme, permissions=("event:view",))
    opened = open_stream(client)

    def sign_out() -> None:
        with tenant_context(committed_acme):
            client.logout()

    async def scenario() -> None:
        waiting = asyncio.ensure_future(take(opened, 1))
        await asyncio.sleep(0.8)
        assert not waiting.done()
        await in_thread(sign_out)
        [last] = await waiting
        assert last["event"] == "closed"

    run(scenario)


def test_streams_of_one_person_are_limited(committed_acme: Any, api_for: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(stream, "STREAMS_PER_ACTOR", 1)
    client = api_for(committed_acme, permissions=("event:view",))
    opened = open_stream(client)

    async def scenario() -> None:
        waiting = asyncio.ensure_future(take(opened, 1))
        await asyncio.sleep(0.5)
        refused = await in_thread(lambda: client.get(ROOT).status_code)
        assert refused == 429
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await in_thread(lambda: client.get(ROOT).status_code) == 200

    run(scenario)


def test_the_socket_resumes_by_cursor(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme, "event:view")
    start = emit(committed_acme)
    emit(committed_acme, 1, 2)

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            await client.send_json({"stream": {"after": start, "types": ["probe.*"]}})
            assert await client.receive_json(5) == {"stream": {"cursor": start, "missing": 0}}
            first = await client.receive_json(5)
            assert first["event"]["data"]["number"] == 1
        async with socket("acme.localhost", key) as client:
            await client.send_json({"stream": {"after": first["cursor"], "types": ["probe.*"]}})
            await client.receive_json(5)
            assert (await client.receive_json(5))["event"]["data"]["number"] == 2
            await in_thread(lambda: emit(committed_acme, 3))
            assert (await client.receive_json(5))["event"]["data"]["number"] == 3
            await client.send_json({"stream": None})
            assert await client.receive_json(5) == {"stream": None}
            for wrong in ({"after": -1}, {"after": True}, {"after": "x"}, {"types": "x"}, 5):
                await client.send_json({"stream": wrong})
                assert (await client.receive_json(5))["code"] == "events.stream_invalid"

    run(scenario)


def test_the_sockets_stream_needs_the_permission(committed_acme: Any, sign_in: Any) -> None:
    key = sign_in(committed_acme, "run:view")

    async def scenario() -> None:
        async with socket("acme.localhost", key) as client:
            await client.send_json({"stream": {"after": None}})
            assert await client.receive_json(5) == {"stream": None, "code": "access.permission_denied"}

    run(scenario)
