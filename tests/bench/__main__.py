"""`make bench` (`python -m tests.bench`): the portal's loads beside PostgreSQL's COPY, DuckDB, polars and dlt.

Needs DATABASE_URL (a server on which databases may be made) and BROKER_URL. Everything is measured in one run on one
machine, one after the other; only ratios mean anything. The table is printed and kept as JSON in .run/bench/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench import peers
from tests.bench.data import Dataset, make_dataset
from tests.bench.environment import MemoryWatch, celery_worker, throw_away_database
from tests.bench.peers import Timing

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / ".run" / "bench"
ROWS_SAMPLE = 20_000
console = Console()

# name -> (yardstick, most allowed ratio) or (yardstick, least allowed speed-up as a negative number)
GOALS: dict[str, tuple[str, float, str]] = {
    "portal: full, CSV": ("PostgreSQL COPY of the ready file", 1.1, "at most"),
    "portal: full, NDJSON": ("PostgreSQL COPY of the ready file", 1.1, "at most"),
    "portal: full, PostgreSQL": ("PostgreSQL COPY of the ready file", 1.1, "at most"),
    "portal: upsert, every row changed": ("staged INSERT … ON CONFLICT", 1.1, "at most"),
    "portal: upsert, 1 % changed": ("dlt merge", 0.5, "at most"),
    "portal: push-down": ("hand-written INSERT … SELECT", 1.05, "at most"),
}


class Bench:
    """Measures, remembers, shows."""

    def __init__(self, arguments: argparse.Namespace, progress: Progress) -> None:
        self.arguments = arguments
        self.progress = progress
        self.results: dict[str, dict[str, Any]] = {}
        self.skipped: dict[str, str] = {}
        self.facts: dict[str, Any] = {}

    def measure(self, name: str, action: Callable[[], Timing], *, repeat: int | None = None) -> None:
        """The best of several measurements; a failure is a skip with its reason, unless the portal itself failed."""
        if self.arguments.only and not any(word in name for word in self.arguments.only):
            return
        task = self.progress.add_task(name, total=None)
        try:
            timings = [action() for _ in range(repeat or self.arguments.repeat)]
        except Exception as error:
            if name.startswith("portal"):
                raise
            self.skipped[name] = f"{type(error).__name__}: {error}"[:300]
            self.progress.update(task, description=f"[yellow]{name}: skipped[/]", total=1, completed=1)
            return
        best = min(timings, key=lambda timing: timing.seconds)
        self.results[name] = {
            "seconds": round(best.seconds, 3),
            "all_seconds": [round(timing.seconds, 3) for timing in timings],
            "rows": best.rows,
            "rows_per_s": round(best.rows / best.seconds),
            "note": best.note,
        }
        self.progress.update(task, description=f"{name}: [bold]{best.seconds:.2f} s[/]", total=1, completed=1)


def main() -> int:
    """Measure and print; 0 also when a goal was missed, because a goal is a comparison and not a test."""
    arguments = _arguments()
    # Told to stop, it unwinds: workers end, the database goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
    url = os.environ.get("DATABASE_URL")
    if not url:
        console.print("[red]DATABASE_URL is not set; use `make bench`.[/]")
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.gettempdir()) / "portal-bench"
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        bench = Bench(arguments, progress)
        with throw_away_database(url, f"portal_bench_{os.getpid()}") as database:
            os.environ["DATABASE_URL"] = os.environ["WAREHOUSE_URL"] = database
            os.environ.setdefault("FILES_ROOT", str(folder / "files"))
            _run(bench, database, folder)
    _show(bench)
    _keep(bench)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench A='…'", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="invoices (default 1,000,000)")
    parser.add_argument(
        "--memory-rows", type=int, default=5_000_000, help="invoices of the memory comparison; 0 = none"
    )
    parser.add_argument("--repeat", type=int, default=2, help="measurements of each line; the best counts")
    parser.add_argument("--only", nargs="*", default=[], help="lines whose name contains one of these words")
    parser.add_argument("--workers", type=int, default=2, help="processes of the Celery worker")
    parser.add_argument(
        "--peers", default=os.environ.get("BENCH_PYTHON", ""), help="python that has dlt and connectorx"
    )
    return parser.parse_args()


def _run(bench: Bench, database: str, folder: Path) -> None:
    import django
    from django.core.management import call_command

    import config.celery  # noqa: F401 - the application that tasks are sent through

    django.setup()
    rows = bench.arguments.rows
    data = _step(bench, f"Generate {rows:,} invoices", lambda: make_dataset(folder, rows))
    _step(bench, "Migrate", lambda: call_command("migrate_schemas", shared=True, verbosity=0))
    from tests.bench import portal_path

    portal = _step(bench, "Provision", lambda: portal_path.make_portal(database, data))
    _step(bench, "Fill the source table", lambda: portal_path.fill_source(portal, data))
    _measure_peers(bench, database, data)
    log_folder = Path(tempfile.mkdtemp(prefix="portal-bench-"))
    if bench.arguments.only == ["memory"]:
        _measure_memory(bench, portal, folder, log_folder)
        return
    with celery_worker(log_folder, concurrency=bench.arguments.workers) as worker:
        _measure_portal(bench, portal, data, worker.pid)
    if bench.arguments.memory_rows and (not bench.arguments.only or "memory" in bench.arguments.only):
        _measure_memory(bench, portal, folder, log_folder)


def _step(bench: Bench, name: str, action: Callable[[], Any]) -> Any:
    task = bench.progress.add_task(name, total=None)
    found = action()
    bench.progress.update(task, total=1, completed=1)
    return found


def _measure_peers(bench: Bench, url: str, data: Dataset) -> None:
    bench.measure("PostgreSQL COPY of the ready file", lambda: peers.copy_ready_file(url, data))
    bench.measure("DuckDB + ADBC", lambda: peers.duckdb_adbc(url, data))
    bench.measure("polars + ADBC", lambda: peers.polars_adbc(url, data))
    bench.measure("staged INSERT … ON CONFLICT", lambda: peers.staged_upsert(url, data, changed=True))
    bench.measure("hand-written INSERT … SELECT", lambda: peers.hand_written_pushdown(url, data, "bench_source"))
    python = _peer_python(bench.arguments.peers)
    if python is None:
        bench.skipped["dlt"] = "no python with dlt; make one from requirements/bench.txt and give --peers <python>"
        return
    bench.measure("dlt, Arrow", lambda: peers.dlt_peer(python, url, data, "arrow"), repeat=1)
    bench.measure("dlt, connectorx", lambda: peers.dlt_peer(python, url, data, "connectorx"), repeat=1)
    bench.measure("dlt merge", lambda: peers.dlt_peer(python, url, data, "merge"), repeat=1)

    def plain_rows() -> Timing:
        sample = min(ROWS_SAMPLE, data.rows)
        timing = peers.dlt_peer(python, url, data, "rows", rows=sample)
        scaled = timing.seconds * data.rows / sample
        return Timing(scaled, data.rows, f"{sample:,} rows took {timing.seconds:.1f} s; scaled to {data.rows:,}")

    bench.measure("dlt, plain rows", plain_rows, repeat=1)


def _peer_python(given: str) -> Path | None:
    for candidate in (given, str(ROOT / ".run" / "bench-venv" / "bin" / "python"), sys.executable):
        path = Path(candidate) if candidate else None
        if path is not None and path.exists() and os.system(f"'{path}' -W ignore -c 'import dlt' 2>/dev/null") == 0:
            return path
    return None


def _measure_portal(bench: Bench, portal: Any, data: Dataset, worker_pid: int) -> None:
    from tests.bench import portal_path
    from tests.bench.portal_path import SOURCE_TABLE, load

    def timed(connection: str, entity: str, target: str, disposition: str = "replace") -> Timing:
        timing, run = load(portal, connection, entity, target, disposition=disposition)
        _check(portal, target, run, data)
        return timing

    source = f"public.{SOURCE_TABLE}"
    if not bench.arguments.only or "memory" in bench.arguments.only or "full" in bench.arguments.only:
        load(portal, portal.files, data.csv.name, "warm_up")
    with MemoryWatch(worker_pid) as memory:
        bench.measure("portal: full, CSV", lambda: timed(portal.files, data.csv.name, "full_csv"))
        bench.measure("portal: full, NDJSON", lambda: timed(portal.files, data.ndjson.name, "full_ndjson"))
        bench.measure("portal: full, PostgreSQL", lambda: timed(portal.database, source, "full_pg"))
        portal.share_source(True)
        bench.measure("portal: push-down", lambda: timed(portal.database, source, "pushed"))
        portal.share_source(False)

        def upsert(share_sql: str) -> Timing:
            table = portal.table("upsert")
            load(portal, portal.database, source, "upsert", disposition="upsert")
            portal.execute(f"UPDATE {table} SET note = 'before ' || note WHERE {share_sql}", as_tenant=True)
            portal.execute(f"VACUUM ANALYZE {table}", as_tenant=True)
            return timed(portal.database, source, "upsert", "upsert")

        bench.measure("portal: upsert, every row changed", lambda: upsert("true"))
        bench.measure("portal: upsert, 1 % changed", lambda: upsert("invoice_id % 100 = 1"))
    bench.facts[f"worker_peak_mb_{data.rows}"] = round(memory.peak_mb, 1)

    def overhead() -> Timing:
        median, largest = portal_path.empty_run_overhead_ms(portal)
        bench.facts["empty_run_ms"] = {"median": round(median, 1), "largest": round(largest, 1), "goal": 150}
        return Timing(median / 1000, 0, f"median of {portal_path.EMPTY_RUNS}; largest {largest:.0f} ms")

    bench.measure("portal: empty run", overhead, repeat=1)


def _check(portal: Any, target: str, run: Any, data: Dataset) -> None:
    """A fast wrong answer is no answer."""
    counts = f"SELECT count(*), count(DISTINCT invoice_id) FROM {portal.table(target)}"
    found = portal.execute(counts, as_tenant=True)[0]
    assert found == (data.accepted, data.accepted), (found, data.accepted)
    assert (run.rows_read, run.rows_quarantined) == (data.rows, data.rejected), (run.rows_read, run.rows_quarantined)
    from apps.quality.selectors import find_reconciliation
    from apps.tenancy.services.context import tenant_context

    with tenant_context(portal.tenant):
        reconciliation = find_reconciliation(run.pk)
    assert reconciliation is not None
    assert reconciliation.verdict == "amber", reconciliation.reasons


def _measure_memory(bench: Bench, portal: Any, folder: Path, log_folder: Path) -> None:
    """The same load at two sizes, each in a new worker."""
    from tests.bench.portal_path import load

    for rows in (bench.arguments.rows, bench.arguments.memory_rows):
        data = _step(bench, f"Generate {rows:,} invoices", lambda rows=rows: make_dataset(folder, rows))
        portal.place(data.csv)
        with (
            celery_worker(log_folder, concurrency=bench.arguments.workers) as worker,
            MemoryWatch(worker.pid) as memory,
        ):
            timing, _ = _step(
                bench, f"Load {rows:,} rows", lambda data=data: load(portal, portal.files, data.csv.name, "memory")
            )
        bench.facts[f"memory_{rows}"] = {"peak_mb": round(memory.peak_mb, 1), "seconds": round(timing.seconds, 2)}


def _show(bench: Bench) -> None:
    table = Table(title=f"{bench.arguments.rows:,} invoices, 13 fields, 2 rules, 1 % rejects")
    for name, justify in (
        ("", "left"),
        ("seconds", "right"),
        ("rows/s", "right"),
        ("ratio", "right"),
        ("leaves out / notes", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, result in bench.results.items():
        ratio = _ratio(bench, name)
        table.add_row(name, f"{result['seconds']:.2f}", f"{result['rows_per_s']:,}", ratio, result["note"])
    console.print(table)
    for name, reason in bench.skipped.items():
        console.print(f"[yellow]skipped[/] {name}: {reason}")
    for name, fact in bench.facts.items():
        console.print(f"{name}: {fact}")


def _ratio(bench: Bench, name: str) -> str:
    goal = GOALS.get(name)
    yardstick = bench.results.get(goal[0]) if goal else None
    if goal is None or yardstick is None:
        return ""
    ratio = bench.results[name]["seconds"] / yardstick["seconds"]
    bench.results[name]["ratio"] = round(ratio, 3)
    bench.results[name]["goal"] = goal[1]
    colour = "green" if ratio <= goal[1] else "red"
    return f"[{colour}]{ratio:.2f}[/] (≤ {goal[1]:g} × {goal[0]})"


def _keep(bench: Bench) -> None:
    path = OUT / f"loads-{time.strftime('%Y%m%d-%H%M%S')}.json"
    document = {
        "rows": bench.arguments.rows,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "results": bench.results,
        "skipped": bench.skipped,
        "facts": bench.facts,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"kept in {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
