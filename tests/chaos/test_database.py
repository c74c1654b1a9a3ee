"""PostgreSQL is stopped without a word, and sessions end by storms: runs end well, without anybody's help (D2)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings

from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.chaos.conftest import Chaos
from tests.chaos.load import ProcessLoad, insisting, noting, wait_for
from tests.chaos.nursery import Nursery, nursery_in
from tests.chaos.own_database import OwnDatabase, own_database

pytestmark = [pytest.mark.committed, pytest.mark.slow, pytest.mark.chaos]


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[OwnDatabase, Tenant]]:
    """A PostgreSQL of this module's own, with acme."""
    with django_db_blocker.unblock(), own_database() as found:
        yield found


@pytest.fixture(scope="module")
def nursery(server: tuple[OwnDatabase, Tenant], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Workers on that server."""
    with nursery_in(tmp_path_factory.mktemp("nursery")) as grown:
        yield grown


@pytest.fixture
def load(
    server: tuple[OwnDatabase, Tenant], nursery: Nursery, chaos: Chaos, django_db_blocker: Any
) -> Iterator[ProcessLoad]:
    """A load of runs on that server."""
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker, django_db_blocker.unblock():
        broker.flushdb()
        with tenant_context(server[1]), noting(server[1]) as notes:
            found = ProcessLoad(server[1], notes, chaos.history, items=50 if chaos.size(1, 50) >= 20 else 5)
            yield found
            nursery.clear()
            found.close()
        broker.flushdb()


def test_runs_survive_stops_of_the_database(
    server: tuple[OwnDatabase, Tenant], load: ProcessLoad, nursery: Nursery, chaos: Chaos
) -> None:
    stops = chaos.size(1, 50)
    database = server[0]
    nursery.grow("sweeper")
    worker = nursery.worker()
    load.start(10 if stops >= 20 else 3)
    down_s, storms, kills = [], 0, 0
    for number in range(stops):
        if load.left() < 2:
            load.start(2)
        before = load.notes.count()
        wait_for(lambda n=before: load.notes.count() > n or load.ended(), "some progress", timeout_s=90)
        time.sleep(chaos.dice.uniform(0, 0.5))
        if number % 5 == 0:
            database.end_sessions()
            storms += 1
            time.sleep(chaos.dice.uniform(0, 0.3))
        database.stop_at_once()
        if number % 2:  # the workers die as well
            worker.kill()
            kills += 1
            worker = nursery.worker()
        down_s.append(database.start())
    insisting(load.wait)
    load.observe()
    chaos.report(
        stops=stops, storms=storms, worker_kills=kills, runs=len(load.runs), recovery_max_s=round(max(down_s), 2)
    )
    chaos.check(load.describe)


def test_promises_that_are_not_on_disk_are_caught(
    server: tuple[OwnDatabase, Tenant], load: ProcessLoad, chaos: Chaos
) -> None:
    """With `synchronous_commit = off` the server says "committed" before it is."""
    database = server[0]
    database.stop_at_once()
    database.start("synchronous_commit=off", "wal_writer_delay=10s")
    load.start(3)
    database.stop_at_once()
    database.start()
    kept = insisting(load.kept)
    chaos.history.seen([("run", number) for number, run_id in enumerate(load.runs) if run_id in kept])
    chaos.must_say("lost ('run'")
