"""The portal's processes, running for real against the test database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.processes import database_url, free_port, running, start_beat, start_relay, start_web, start_worker

RUN_TIMEOUT_S = 90
FINISHED = {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True)
class Stack:
    """Where the running portal answers."""

    port: int

    def url(self, tenant_slug: str, path: str) -> str:
        """Address of a page on a tenant's host."""
        return f"http://{tenant_slug}.localhost:{self.port}{path}"


@pytest.fixture(scope="session")
def workers(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Celery worker, the clock and the event relay on the test database."""
    directory = tmp_path_factory.mktemp("processes")
    with django_db_blocker.unblock():
        children = (start_worker(directory), start_beat(directory), start_relay(directory))
    with running(*children):
        yield


@pytest.fixture(scope="session")
def stack(workers: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole portal: workers and the web server."""
    port = free_port()
    with django_db_blocker.unblock():
        web = start_web(tmp_path_factory.mktemp("web"), port)
    with running(web):
        yield Stack(port)


@pytest.fixture
def source_database(committed_db: None, unique: Callable[[str], str]) -> Iterator[Callable[[str], dict[str, Any]]]:
    """`source_database(script)` makes a database on the test server, runs the script and says how to connect to it."""
    made: list[str] = []
    admin_url = database_url()

    def build(script: str) -> dict[str, Any]:
        name = unique("source")
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made.append(name)
        parts = urlsplit(admin_url)
        with psycopg.connect(admin_url, dbname=name, autocommit=True, cursor_factory=psycopg.ClientCursor) as target:
            target.execute(script)  # type: ignore[arg-type]
        return {
            "config": {"host": parts.hostname, "port": parts.port or 5432, "database": name, "user": parts.username},
            "secrets": {"password": parts.password or "unused"},
        }

    yield build
    with psycopg.connect(admin_url, autocommit=True) as admin:
        for name in made:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def finished_run() -> Callable[..., dict[str, Any]]:
    """`finished_run(api, run_id)` polls a run until it has ended."""

    def wait(api: Any, run_id: str, *, timeout_s: float = RUN_TIMEOUT_S) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            run = api.get(f"/api/v2/runs/{run_id}").json()
            if run["status"] in FINISHED:
                return run
            assert time.monotonic() < deadline, f"run is still {run['status']}: {run}"
            time.sleep(0.1)

    return wait
