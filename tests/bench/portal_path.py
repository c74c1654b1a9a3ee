"""The portal's own loads, as a person starts them: a flow, a run, a real worker, everything switched on."""

from __future__ import annotations

import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection

from apps.access.contracts import Actor
from apps.connectors.services.connections import create_connection
from apps.engine.models import Run
from apps.engine.services.runs import StartRequest, start_run
from apps.engine.services.sweeping import sweep_tenant
from apps.integrations.services.drafts import create_flow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from apps.tenancy.services.tenants import provision_tenant
from tests.bench.data import SOURCE_COLUMNS, Dataset, flow_definition
from tests.bench.peers import Timing, checkpoint

SYSTEM = Actor.system("bench")
POLL_S = 0.05  # coarse, because the times of a run are the database's own
RUN_TIMEOUT_S = 900
SWEEP_S = 5.0
EMPTY_RUNS = 15
SOURCE_TABLE = "bench_source"


@dataclass
class Portal:
    """The tenant that the benchmark works in.

    Attributes:
        tenant: the tenant.
        url: the portal's database, which is also the warehouse and holds the source table.
        files: slug of the connection to the folder with the dataset.
        database: slug of the connection to the source table.
    """

    tenant: Tenant
    url: str
    files: str = "bench-files"
    database: str = "bench-db"

    def table(self, name: str) -> str:
        """A warehouse table, qualified."""
        return f'"{self.tenant.warehouse_schema}"."{name}"'

    def execute(self, statement: str, *, as_tenant: bool = False) -> Any:
        """One statement with the log-in's rights, or with the tenant's."""
        with psycopg.connect(self.url, autocommit=True) as session:
            if as_tenant:
                session.execute(f'SET ROLE "{self.tenant.db_role}"')
            found = session.execute(statement)
            return found.fetchall() if found.description else None

    def place(self, path: Path) -> None:
        """Put a file where the tenant's file connection finds it."""
        folder = Path(settings.FILES_ROOT) / str(self.tenant.id) / "folder"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)

    def share_source(self, shared: bool) -> None:
        """Let the tenant's role read the source table, which makes the load a push-down, or no longer."""
        verb, preposition = ("GRANT", "TO") if shared else ("REVOKE", "FROM")
        self.execute(f'{verb} SELECT ON {SOURCE_TABLE} {preposition} "{self.tenant.db_role}"')


def make_portal(url: str, data: Dataset) -> Portal:
    """Provision the tenant, place the files in its folder, and make the two source connections."""
    connection.set_schema_to_public()
    tenant = provision_tenant("bench", "Bench", domains=["bench.localhost"], actor=SYSTEM)
    portal = Portal(tenant, url)
    for path in (data.csv, data.ndjson):
        portal.place(path)
    address = connection.settings_dict
    with tenant_context(tenant):
        create_connection(
            name="Bench files",
            slug=portal.files,
            connector="files",
            config={"location": "folder"},
            secrets={},
            actor=SYSTEM,
        )
        create_connection(
            name="Bench database",
            slug=portal.database,
            connector="postgresql",
            config={
                "host": address["HOST"],
                "port": int(address["PORT"] or 5432),
                "database": address["NAME"],
                "user": address["USER"],
            },
            secrets={"password": address["PASSWORD"] or "unused"},
            actor=SYSTEM,
        )
    return portal


def fill_source(portal: Portal, data: Dataset) -> None:
    """The source table, as an ERP would hold it."""
    with psycopg.connect(portal.url, autocommit=True) as session:
        session.execute(f"DROP TABLE IF EXISTS {SOURCE_TABLE}")
        session.execute(f"CREATE TABLE {SOURCE_TABLE} ({SOURCE_COLUMNS}, PRIMARY KEY (id))")
        with session.cursor() as cursor, data.csv.open("rb") as file:
            with cursor.copy(f"COPY {SOURCE_TABLE} FROM STDIN (FORMAT csv, HEADER)") as copy:
                while chunk := file.read(1 << 20):
                    copy.write(chunk)
        session.execute(f"VACUUM ANALYZE {SOURCE_TABLE}")
        checkpoint(session)


def load(
    portal: Portal, connection_slug: str, entity: str, target: str, *, disposition: str = "replace"
) -> tuple[Timing, Run]:
    """One run from the request to its end.

    Raises:
        RuntimeError: the run did not succeed; with its error.
    """
    with tenant_context(portal.tenant):
        definition = flow_definition(connection_slug, entity, target, disposition=disposition)
        flow = create_flow(f"Bench {target} {time.monotonic_ns()}", definition=definition, actor=SYSTEM)
        with psycopg.connect(portal.url, autocommit=True) as session:
            checkpoint(session)
        run = start_run(StartRequest(flow.pk, "dev", version="draft"), actor=SYSTEM)
        run = wait_for(run)
        assert run.ended_at is not None
        seconds = (run.ended_at - run.created_at).total_seconds()
    note = f"{run.rows_quarantined:,} in quarantine, reconciled, live"
    return Timing(seconds, run.rows_read, note), run


def wait_for(run: Run) -> Run:
    """The run when it has ended.

    Raises:
        RuntimeError: it did not succeed.
    """
    deadline = time.monotonic() + RUN_TIMEOUT_S
    swept = time.monotonic()
    while time.monotonic() < deadline:
        if time.monotonic() - swept > SWEEP_S:
            swept = time.monotonic()
            sweep_tenant()  # what the portal's beat does
        run.refresh_from_db(fields=["status", "ended_at", "error"])
        if run.ended_at is not None:
            if run.status != "succeeded":
                raise RuntimeError(f"the run {run.status}: {run.error}")
            run.refresh_from_db()
            return run
        time.sleep(POLL_S)
    raise RuntimeError(f"the run did not end within {RUN_TIMEOUT_S} s")


def empty_run_overhead_ms(portal: Portal) -> tuple[float, float]:
    """Median and largest time of a run over an empty source, from the request to "succeeded"; the first is warm-up."""
    portal.execute(f"DROP TABLE IF EXISTS bench_empty; CREATE TABLE bench_empty ({SOURCE_COLUMNS})")
    times = []
    with tenant_context(portal.tenant):
        definition = flow_definition(portal.database, "public.bench_empty", "empty", disposition="replace")
        flow = create_flow("Bench empty", definition=definition, actor=SYSTEM)
        for number in range(EMPTY_RUNS + 1):
            run = start_run(StartRequest(flow.pk, "dev", version="draft"), actor=SYSTEM)
            run = wait_for(run)
            assert run.ended_at is not None
            if number:
                times.append((run.ended_at - run.created_at).total_seconds() * 1000)
    return statistics.median(times), max(times)
