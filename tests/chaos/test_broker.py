"""The broker forgets everything, again and again: the sweeper dispatches it anew, and nothing is lost (D3)."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.runtime import valkey
from tests.chaos.conftest import Chaos
from tests.chaos.load import wait_for
from tests.chaos.nursery import Nursery, nursery_in
from tests.processes import free_port

AGAIN_S = 60.0
pytestmark = [pytest.mark.committed]
LONG = pytest.param("long", marks=[pytest.mark.chaos, pytest.mark.slow])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[valkey.ValkeyServer]:
    """A Valkey of this test's own, so that all of it can be emptied."""
    directory = tmp_path_factory.mktemp("valkey")
    found = valkey.ValkeyServer(directory, free_port(), secrets.token_urlsafe(12))
    program = valkey.build_program(found)
    process = subprocess.Popen(program.argv, cwd=program.cwd, stdout=subprocess.DEVNULL)
    with redis.Redis.from_url(found.url(0)) as client:

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        wait_for(answers, "the test's own Valkey")
        yield found
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def nursery(
    server: valkey.ValkeyServer, tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[Nursery]:
    """Workers with a broker of their own; nothing rings there for what the test starts, except the sweeper."""
    urls = {"BROKER_URL": server.url(0), "CHANNEL_URL": server.url(1), "CACHE_URL": server.url(2)}
    directory: Path = tmp_path_factory.mktemp("nursery")
    with nursery_in(directory, **urls) as grown:
        yield grown


@pytest.mark.parametrize("form", ["short", LONG])
def test_everything_is_dispatched_again(
    loads: Any, nursery: Nursery, server: valkey.ValkeyServer, chaos: Chaos, form: str
) -> None:
    flushes = chaos.size(2, 20)
    load = loads(50 if chaos.long else 4)
    load.start(8 if chaos.long else 3)
    nursery.grow("sweeper")
    nursery.worker()
    pauses = []
    with redis.Redis.from_url(server.url(0)) as broker:
        for _ in range(flushes):
            if load.ended():
                load.start(2)
            before = load.notes.count()
            wait_for(lambda n=before: load.notes.count() > n or load.ended(), "some progress")
            time.sleep(chaos.dice.uniform(0, 0.5))
            broker.flushall()
            began, before = time.monotonic(), load.notes.count()
            wait_for(lambda n=before: load.notes.count() > n or load.ended(), "progress", timeout_s=AGAIN_S)
            pauses.append(time.monotonic() - began)
    load.wait()
    load.observe()
    chaos.report(flushes=flushes, runs=len(load.runs), pause_max_s=round(max(pauses), 2))
    chaos.check(load.describe)


def test_without_the_sweeper_the_suite_says_so(
    loads: Any, nursery: Nursery, server: valkey.ValkeyServer, chaos: Chaos
) -> None:
    load = loads(2)
    load.start(1)
    with redis.Redis.from_url(server.url(0)) as broker:
        broker.flushall()
    nursery.worker()
    load.wait(timeout_s=4)
    load.observe()
    chaos.must_say("lost ('run', 0)")
