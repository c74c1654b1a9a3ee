"""A PostgreSQL server of a test's own, as durable as production's, that can be stopped without a word."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from apps.access.contracts import Actor
from apps.tenancy.models import Tenant
from apps.tenancy.services.tenants import provision_tenant
from config.runtime import postgres
from config.runtime.servers import plan_throw_away_servers
from config.runtime.verification import throw_away_directory
from tests.chaos.load import wait_for


class OwnDatabase:
    """The server."""

    def __init__(self, directory: Path) -> None:
        """Make its data directory; `start` starts it."""
        import asyncio

        plan = plan_throw_away_servers(directory, durable=True)
        assert plan.cluster is not None
        self.cluster, self.url, self.portal_password = plan.cluster, plan.urls["DATABASE_URL"], plan.portal_password
        asyncio.run(postgres.ensure_cluster(self.cluster))
        self._log = (directory / "postgres.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> float:
        """Start it; returns the seconds until it answered.

        Args:
            options: settings for this start (`synchronous_commit=off`).
        """
        program = postgres.build_program(self.cluster)
        more = [part for option in options for part in ("-c", option)]
        began = time.monotonic()
        self._process = subprocess.Popen(
            [*program.argv, *more],
            cwd=program.cwd,
            env=dict(program.env),
            user=program.user,
            group=program.group,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        wait_for(self._answers, "the test's own PostgreSQL", timeout_s=60)
        return time.monotonic() - began

    def stop_at_once(self) -> None:
        """What `pg_ctl stop -m immediate` does: no checkpoint, no goodbye; the next start recovers from the log."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def end_sessions(self) -> int:
        """`pg_terminate_backend` of every other session; returns how many."""
        address = self.cluster.url("postgres", self.cluster.password, "postgres")
        with psycopg.connect(address, autocommit=True) as session:
            found = session.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()",
                [postgres.DATABASE],
            ).fetchone()
        return int(found[0]) if found else 0

    def close(self) -> None:
        """Stop it for good."""
        if self._process is not None and self._process.poll() is None:
            self.stop_at_once()
        self._log.close()

    def _answers(self) -> bool:
        return postgres._try_bootstrap(self.cluster, self.portal_password)


@contextmanager
def own_database() -> Iterator[tuple[OwnDatabase, Tenant]]:
    """The server with the tenant `acme`; this process's Django works on it inside the block."""
    with throw_away_directory() as directory:
        server = OwnDatabase(directory)
        try:
            server.start()
            with _moved(server.url):
                call_command("migrate_tenants", verbosity=0)
                connection.set_schema_to_public()
                tenant = provision_tenant("acme", "Acme", domains=["acme.localhost"], actor=Actor.system("tests"))
                connection.set_schema_to_public()
                yield server, tenant
        finally:
            server.close()


@contextmanager
def _moved(url: str) -> Iterator[None]:
    """Django's connection and the addresses that children are given point to another server."""
    parts = urlsplit(url)
    database: dict[str, Any] = connection.settings_dict
    former, addresses = dict(database), (settings.DATABASE_URL, settings.WAREHOUSE_URL)
    connection.close()
    database.update(
        HOST=parts.hostname, PORT=parts.port, USER=parts.username, PASSWORD=parts.password, NAME=parts.path.lstrip("/")
    )
    settings.DATABASE_URL = settings.WAREHOUSE_URL = url
    try:
        yield
    finally:
        connection.close()
        database.clear()
        database.update(former)
        settings.DATABASE_URL, settings.WAREHOUSE_URL = addresses
