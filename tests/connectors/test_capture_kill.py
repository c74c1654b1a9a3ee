"""The capturing process is killed again and again, in the snapshot, between and inside transactions."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.connectors.captures import (
    Source,
    Writer,
    capture,
    change_source,
    check_history,
    connected,
    events_of,
    mark,
    reload,
    versions,
    wait_for,
    wait_for_key,
    wait_until_streaming,
)
from tests.processes import Child, running, start

SEED = 20261124


@pytest.fixture
def source() -> Iterator[Source]:
    with change_source() as found:
        yield found


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]


def start_capture(directory: Path, name: str) -> Child:
    command = [sys.executable, "manage.py", "run_capture", "--poll", "0.05", "--lease", "2", "--measure", "2"]
    return start(name, command, directory, EGRESS_ALLOW_PRIVATE="127.0.0.0/8:*")


@pytest.mark.committed
@pytest.mark.slow
def test_killed_processes_lose_and_repeat_nothing(
    committed_acme: Tenant, committed_globex: Tenant, source: Source, tmp_path: Path
) -> None:
    dice = random.Random(SEED)
    for table in ("ours", "theirs"):
        source.execute(
            f"CREATE TABLE {table} (id int PRIMARY KEY, version int NOT NULL, note text DEFAULT repeat('n', 300));"
            f"INSERT INTO {table} SELECT i, 1 FROM generate_series(1, 6000) i"
        )
    with connected(committed_globex, source) as other, connected(committed_acme, source) as link:
        with tenant_context(committed_globex):
            foreign = capture(other, "theirs")
        row = capture(link, "ours")
        # Above the updated keys, so that large transactions and small ones do not wait for each other's rows.
        with Writer(source, "ours", "1 + floor(random() * 6000)::int") as writer:
            for kill in range(4):
                child = start_capture(tmp_path, f"victim{kill}")
                with running(child):
                    seen = (reload(row).rows_read, row.changes)
                    wait_for(lambda s=seen: (reload(row).rows_read, row.changes) != s, f"work before kill {kill}")
                    first = 100_000 + kill * 10_000
                    source.execute(f"INSERT INTO ours SELECT i, 1 FROM generate_series({first}, {first + 2000}) i")
                    time.sleep(dice.random() * 0.5)
                    child.kill_group()
            assert writer.count > 100
        with running(start_capture(tmp_path, "survivor")):
            wait_until_streaming(row)
            mark(source, "ours", 999_999)
            wait_for_key(row.id, 999_999)
            with tenant_context(committed_globex):
                wait_for(lambda: reload(foreign).phase == "streaming", "the other tenant's snapshot")
        events = events_of(row.id)
        check_history(events, versions(source, "ours"))
        places = [(one["lsn"], one["place"]) for one in events if one["op"] != "read"]
        assert len(places) == len(set(places))
        assert {one["table"] for one in events} == {"public.ours"}
        with tenant_context(committed_globex):
            theirs = events_of(foreign.id)
            assert events_of(row.id) == []
        check_history(theirs, versions(source, "theirs"))
