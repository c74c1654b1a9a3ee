"""`/ws/live` over real sockets: uvicorn in its own process, a relay, and a WebSocket client."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from apps.core.ids import uuid7
from apps.events.contracts import EventType
from apps.events.registries import event_types
from apps.events.services.outbox import publish_event
from apps.events.services.relay import Relay, RelayOptions
from apps.tenancy.services.context import tenant_context
from tests.events.factories import ProbeSent
from tests.events.live_helpers import in_thread
from tests.events.test_relay import database_url, wait_for

ROOT = Path(__file__).resolve().parents[2]
NUDGE = EventType("nudge.sent.v1", ProbeSent, "A test nudged.", hint_kind="nudge", hint_facts=("number",))


@pytest.fixture
def server(committed_db: None) -> Iterator[int]:
    """Port of a uvicorn that serves only the sockets."""
    event_types.register(NUDGE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "tests.events.live_application:application", "--port", str(port)]
    command += ["--ws-max-size", "65536", "--log-level", "warning"]
    environment = {**os.environ, "DATABASE_URL": database_url()}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        assert wait_for(lambda: is_open(port), 60), process.poll()
        yield port
    finally:
        process.terminate()
        process.wait(20)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def open_socket(port: int, host: str, key: str | None) -> Any:
    headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={key}"} if key else {}
    return connect(
        f"ws://{host}:{port}/ws/live",
        host="127.0.0.1",
        port=port,
        additional_headers=headers,
        origin=f"http://{host}:{port}",
    )


def test_an_event_reaches_the_browser_of_its_tenant_within_a_second(
    server: int, committed_acme: Any, committed_globex: Any, client_for: Any
) -> None:
    keys = {
        tenant.slug: client_for(tenant, permissions=("run:view",)).cookies[settings.SESSION_COOKIE_NAME].value
        for tenant in (committed_acme, committed_globex)
    }
    object_id = str(uuid7())
    relay = Relay(RelayOptions(lease_s=5, standby_s=0.1))
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    assert relay.is_leader.wait(20)
    assert wait_for(relay.queue.is_idle, 30)

    def publish() -> float:
        with tenant_context(committed_acme):
            publish_event("nudge.sent.v1", subject=f"nudge/{object_id}", data={"number": 7})
        return time.monotonic()

    async def scenario() -> float:
        async with (
            open_socket(server, "acme.localhost", keys["acme"]) as own,
            open_socket(server, "globex.localhost", keys["globex"]) as foreign,
        ):
            for browser in (own, foreign):
                await browser.send(json.dumps({"subscribe": ["nudges", f"nudge:{object_id}"]}))
                assert json.loads(await browser.recv())["refused"] == []
            await asyncio.sleep(0.3)
            published = await in_thread(publish)
            told = json.loads(await asyncio.wait_for(own.recv(), 10))
            took = time.monotonic() - published
            assert (told["kind"], told["id"], told["facts"]["number"]) == ("nudge", object_id, 7)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(foreign.recv(), 0.5)
            return took

    try:
        assert asyncio.run(scenario()) < 1
    finally:
        relay.stop()
        thread.join(20)


def test_the_handshake_is_refused_with_403(server: int, committed_acme: Any, client_for: Any) -> None:
    key = client_for(committed_acme).cookies[settings.SESSION_COOKIE_NAME].value
    with tenant_context(committed_acme):
        assert Session.objects.filter(session_key=key).exists()

    async def scenario() -> None:
        for host, cookie in (("acme.localhost", None), ("globex.localhost", key), ("nobody.localhost", key)):
            with pytest.raises(InvalidStatus) as refused:
                async with open_socket(server, host, cookie):
                    pass
            assert refused.value.response.status_code == 403

    asyncio.run(scenario())
