"""`python -m tests.bench.bench_capture`: how fast changes of a PostgreSQL database become events, and how late.

Needs DATABASE_URL (a server with wal_level = logical whose account may make databases and replicate). The process
`run_capture` runs on its own, as in production; source and portal share the server. The table is printed and kept as
JSON in .run/bench/capture.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from typing import Any
from uuid import UUID

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench.environment import ROOT, throw_away_database

OUT = ROOT / ".run" / "bench"
WAIT_S = 120
console = Console()


def main(arguments: list[str] | None = None) -> None:
    """Prepare a tenant and a source, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the snapshot, and of the large transaction")
    parser.add_argument("--small", type=int, default=4_000, help="transactions of one row each")
    parser.add_argument("--paced", type=int, default=1_000, help="transactions at 100 a second, for the delay")
    given = parser.parse_args(arguments)
    with throw_away_database(os.environ["DATABASE_URL"], f"bench_capture_{os.getpid()}") as url:
        os.environ.update(
            DATABASE_URL=url, WAREHOUSE_URL=url, EGRESS_ALLOW_PRIVATE="127.0.0.0/8:*", LOG_LEVEL="WARNING"
        )
        import django

        django.setup()
        results = _measure(given)
    table = Table("what", "figure", title="Change capture")
    for name, value in results.items():
        table.add_row(name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
    console.print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "capture.json").write_text(json.dumps(results, indent=1))


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    from django.core.management import call_command

    from apps.access.contracts import Actor
    from apps.tenancy.services.tenants import provision_tenant
    from tests.connectors.captures import capture, change_source, connected

    call_command("migrate_tenants", verbosity=0)
    tenant = provision_tenant("bench", "Bench", domains=["bench.localhost"], actor=Actor.system("bench"))
    with change_source() as source, connected(tenant, source) as link:
        source.execute(
            "CREATE TABLE rows (id int PRIMARY KEY, version int, total numeric(18,2), note text, at timestamptz);"
            f"INSERT INTO rows SELECT i, 1, i * 1.19, 'note ' || i, now() FROM generate_series(1, {given.rows}) i"
        )
        row = capture(link, "rows")
        process = subprocess.Popen([sys.executable, "manage.py", "run_capture", "--poll", "0.1"], cwd=ROOT)
        try:
            return _phases(given, source, row.id, psutil.Process(process.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)


def _phases(given: argparse.Namespace, source: Any, capture_id: UUID, process: psutil.Process) -> dict[str, Any]:
    from apps.connectors.models import ChangeCapture

    def until(done: Any) -> None:
        deadline = time.monotonic() + WAIT_S
        while not done(ChangeCapture.objects.get(id=capture_id)):
            if time.monotonic() > deadline:
                raise SystemExit("The capture did not come to its end in time.")
            time.sleep(0.01)

    results: dict[str, Any] = {}
    until(lambda row: row.rows_read > 0)
    began, at_first = time.perf_counter(), ChangeCapture.objects.get(id=capture_id).rows_read
    until(lambda row: row.phase == "streaming")
    results["snapshot, rows/s"] = (given.rows - at_first) / (time.perf_counter() - began)

    began = time.perf_counter()
    source.execute("UPDATE rows SET version = 2")
    committed = time.perf_counter()
    until(lambda row: row.changes >= given.rows)
    results["one large transaction, changes/s after its commit"] = given.rows / (time.perf_counter() - committed)
    results["largest memory of the process, MB"] = process.memory_info().rss // 1_000_000

    _transactions(source, given.small, pause_s=0)
    committed = time.perf_counter()
    until(lambda row: row.changes >= given.rows + given.small)
    results["small transactions, seconds behind their end"] = time.perf_counter() - committed
    used = process.cpu_times()
    _transactions(source, given.paced, pause_s=0.01)
    until(lambda row: row.changes >= given.rows + given.small + given.paced)
    spent = process.cpu_times()
    delays = _delays(capture_id, given.paced)
    results["delay at 100 transactions/s, p50 ms"] = statistics.median(delays)
    results["delay at 100 transactions/s, p99 ms"] = statistics.quantiles(delays, n=100)[98]
    results["processor a transaction, µs"] = (
        (spent.user + spent.system - used.user - used.system) / given.paced * 1_000_000
    )
    return results


def _transactions(source: Any, count: int, *, pause_s: float) -> None:
    import psycopg

    with psycopg.connect(source.conninfo, autocommit=True) as session:
        for number in range(1, count + 1):
            session.execute("UPDATE rows SET version = version + 1 WHERE id = %s", [number])
            time.sleep(pause_s)


def _delays(capture_id: UUID, count: int) -> list[float]:
    """Milliseconds from the source's commit to the event, which is stamped when it is appended."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM time - (data->>'committed_at')::timestamptz) * 1000 FROM events_event "
            "WHERE data->>'capture' = %s ORDER BY arrival DESC LIMIT %s",
            [str(capture_id), count],
        )
        return [float(row[0]) for row in cursor.fetchall()]


if __name__ == "__main__":
    main()
