"""`python -m tests.bench.bench_processes`: 10-step no-op flows beside DBOS, Prefect, Celery and PostgreSQL's limit.

Needs DATABASE_URL (a server on which databases may be made, with fsync on) and BROKER_URL. Each flow is timed from its
submission to its checked end, in sequence and in parallel, with 1 and 32 flows at a time for everybody, all in one run
on one machine; only ratios mean anything. A run of the portal counts only if it succeeded and each of its steps is
recorded. The table is printed and kept as JSON in .run/bench/processes.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from rich.console import Console
from rich.table import Table

from tests.bench.environment import ROOT, WORKER_START_S, throw_away_database
from tests.bench.flow_timing import STEPS, Watcher, drive

OUT = ROOT / ".run" / "bench"
LISTEN_S = 0.01
GATHER_S = 0.001
SHAPES = ("sequential", "parallel")
SHARES = {"dbos": 5.0, "celery": 3.0, "prefect": 50.0, "limit": 0.25}
LATENCY_MS = {"p50_ms": 30.0, "p99_ms": 100.0}
PEER_FLOWS = {
    "limit": {"1": 200, "32": 2000},
    "celery": {"1": 40, "32": 160},
    "dbos": {"1": 40, "32": 160},
    "prefect": {"1": 3, "32": 32},
}
FLUSHES = 200
console = Console(width=120)


def flush_ms() -> float:
    """What it takes to write 8 kB and have the disk confirm it; the median of many."""
    times = []
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=OUT) as file:
        for _ in range(FLUSHES):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 8192, 0)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return sorted(times)[FLUSHES // 2] * 1000


def measure_peer(name: str, python: str, url: str) -> list[dict[str, Any]]:
    """One peer in a process of its own.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    task = {"peer": name, "url": url, "flows": PEER_FLOWS[name]}
    broker = os.environ["BROKER_URL"]
    interpreter = python if name in ("dbos", "prefect") else sys.executable
    command = [interpreter, "-W", "ignore", str(Path(__file__).with_name("flow_peers.py")), json.dumps(task)]
    environment = {**os.environ, "BENCH_CELERY_URL": broker, "PYTHONPATH": str(ROOT)}
    with celery_peer_worker(environment) if name == "celery" else tempfile.TemporaryDirectory():
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170)
    if done.returncode != 0:
        raise RuntimeError((done.stderr or done.stdout).strip()[-800:])
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@contextmanager
def celery_peer_worker(environment: dict[str, str]) -> Iterator[None]:
    """As many processes as the portal's worker has."""
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.celery_peer", "worker", "-c", "2", "-l", "INFO"]
    with tempfile.NamedTemporaryFile(prefix="bench-celery-") as log:
        process = subprocess.Popen(
            [*command, "-n", f"bench-peer-{os.getpid()}@%h", "--without-gossip", "--without-mingle"],
            cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + WORKER_START_S
            while " ready." not in Path(log.name).read_text(errors="replace"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the worker did not start:\n{Path(log.name).read_text()[-2000:]}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(20)


# -- the portal ------------------------------------------------------------------------------------------------------


def definition(shape: str) -> dict[str, Any]:
    """Ten steps that do nothing: one after the other, or in ten branches."""
    steps = [{"id": f"s{i}", "kind": "transform", "config": {"constants": {"i": i}}} for i in range(STEPS)]
    if shape == "parallel":
        branches = [{"name": f"b{i}", "steps": [step]} for i, step in enumerate(steps)]
        steps = [{"id": "all", "kind": "parallel", "config": {"branches": branches}}]
    return {"schema": "process/1", "kind": "process", "steps": steps}


def make_flow(shape: str) -> Any:
    """A published, deployed process of no-op steps."""
    from apps.access.contracts import Actor
    from apps.integrations.services.deployments import deploy_version
    from apps.integrations.services.flows import create_flow, publish_flow

    actor = Actor.system("bench")
    flow = create_flow(f"Bench {shape}", definition=definition(shape), actor=actor)
    publish_flow(flow.pk, actor=actor)
    deploy_version(flow.pk, environment="dev", version=1, actor=actor)
    return flow.pk


def measure_portal(url: str, flows: dict[int, int], workers: int) -> list[dict[str, Any]]:
    """The engine with a real worker, in its own database."""
    os.environ["DATABASE_URL"] = os.environ["WAREHOUSE_URL"] = url
    import django

    django.setup()
    from django.core.cache import cache
    from django.core.management import call_command
    from django.db import connection

    import config.celery  # noqa: F401
    from apps.access.contracts import Actor
    from apps.tenancy.services.context import tenant_context
    from apps.tenancy.services.tenants import provision_tenant
    from tests.processes import start_worker

    call_command("migrate_schemas", shared=True, verbosity=0)
    cache.clear()
    tenant = provision_tenant("bench", "Bench", domains=["bench.localhost"], actor=Actor.system("bench"))
    with tempfile.TemporaryDirectory() as folder:
        worker = start_worker(Path(folder), name="control", queues="control", concurrency=workers)
        try:
            found = []
            for shape in SHAPES:
                with tenant_context(tenant):
                    flow_id = make_flow(shape)
                connection.close()
                measure_flow(tenant, flow_id, 40, 4)
                for concurrency, count in flows.items():
                    figures = measure_flow(tenant, flow_id, count, concurrency)
                    found.append({"shape": shape, "concurrency": concurrency, **figures})
            return found
        finally:
            worker.stop()


def measure_flow(tenant: Any, flow_id: Any, count: int, concurrency: int) -> dict[str, float]:
    """Start `count` runs; their ends are heard on the event bus and read from the table of runs."""
    from django.db import connection

    from apps.access.contracts import Actor
    from apps.engine.services.runs import StartRequest, start_run
    from apps.events.services.outbox import NOTIFY_CHANNEL
    from apps.tenancy.services.context import tenant_context

    session = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    session.execute(f"LISTEN {NOTIFY_CHANNEL}")
    ended: list[Any] = []

    def pause() -> None:
        for _ in session.notifies(timeout=LISTEN_S, stop_after=1):
            time.sleep(GATHER_S)

    def look(tokens: list[Any]) -> list[Any]:
        table = f'"{tenant.schema_name}".engine_run'
        rows = session.execute(f"SELECT id, status FROM {table} WHERE id = ANY(%s) AND ended_at IS NOT NULL", [tokens])
        found = []
        for run_id, status in rows.fetchall():
            if status != "succeeded":
                raise AssertionError(f"run {run_id} has {status}")
            found.append(run_id)
        ended.extend(found)
        return found

    with Watcher(look, pause, session.close) as watcher:

        def run_one() -> None:
            with tenant_context(tenant):
                run = start_run(StartRequest(flow_id, "dev"), actor=Actor.system("bench"))
            watcher.wait(run.pk)

        figures = drive(run_one, count, concurrency, done=lambda: connection.close())
    steps = f'SELECT count(*) FROM "{tenant.schema_name}".engine_stepresult'
    with psycopg.connect(os.environ["DATABASE_URL"]) as reader:
        where = " WHERE run_id = ANY(%s) AND status = 'succeeded' AND kind = 'process.transform'"
        row = reader.execute(steps + where, [ended]).fetchone()
    assert row is not None
    assert row[0] == count * STEPS, f"{row[0]} of {count * STEPS} steps are recorded"
    return figures


# -- table -----------------------------------------------------------------------------------------------------------


def show(results: dict[str, list[dict[str, Any]]], skipped: dict[str, str], facts: dict[str, Any]) -> bool:
    """Print the table; whether the goals are met."""
    table = Table(title=f"{STEPS}-step no-op flows")
    for name in ("who", "shape", "at once", "flows/s", "steps/s", "p50 ms", "p99 ms", "portal ÷ it", "goal"):
        table.add_column(name, justify="left" if name in ("who", "shape", "goal") else "right")
    ours = {(one["shape"], one["concurrency"]): one for one in results.get("portal", [])}
    met = True
    for who, found in results.items():
        for one in found:
            mine = ours.get((one["shape"], one["concurrency"]))
            if who == "limit" and one["shape"] == "sequential" and mine is None:
                mine = ours.get(("sequential", one["concurrency"]))
            share, goal = "", ""
            if who == "portal":
                if one["concurrency"] == 1:
                    good = all(one[name] <= most for name, most in LATENCY_MS.items())
                    goal = f"p50 ≤ 30, p99 ≤ 100 ms: {'met' if good else 'MISSED'}"
                    met &= good
            elif mine is not None:
                ratio = mine["steps_per_s"] / one["steps_per_s"]
                one["portal_ratio"] = round(ratio, 2)
                share = f"{ratio:.2f}"
                good = ratio >= SHARES[who]
                goal = f"≥ {SHARES[who]:g}: {'met' if good else 'MISSED'}"
                met &= good or one["concurrency"] == 1
            cells = [one[name] for name in ("flows_per_s", "steps_per_s", "p50_ms", "p99_ms")]
            table.add_row(who, one["shape"], str(one["concurrency"]), *[f"{cell:,}" for cell in cells], share, goal)
    console.print(table)
    for name, reason in skipped.items():
        console.print(f"[yellow]skipped[/] {name}: {reason}")
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()))
    return met


def main() -> int:
    """Parse arguments and measure; 0 also when a goal was missed, because a goal is a comparison and not a test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=640, help="flows of the portal with 32 at a time; a fifth with one")
    parser.add_argument("--workers", type=int, default=2, help="processes of the Celery workers")
    parser.add_argument("--only", nargs="*", default=["limit", "celery", "dbos", "prefect", "portal"])
    parser.add_argument(
        "--peers", default=os.environ.get("FLOWS_PYTHON", str(ROOT / ".run" / "flows-venv" / "bin" / "python")),
        help="python that has dbos and prefect (requirements/flows.txt)",
    )  # fmt: skip
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
    os.environ["LOG_LEVEL"] = "WARNING"
    server = os.environ["DATABASE_URL"]
    results: dict[str, list[dict[str, Any]]] = {}
    skipped: dict[str, str] = {}
    facts: dict[str, Any] = {"flush of 8 kB, ms": round(flush_ms(), 3)}
    with psycopg.connect(urlunsplit(urlsplit(server)._replace(path="/postgres"))) as session:
        facts["fsync"] = session.execute("SHOW fsync").fetchone()[0]  # type: ignore[index]
    for name in arguments.only:
        with throw_away_database(server, f"bench_processes_{os.getpid()}") as url:
            if name == "portal":
                flows = {1: arguments.runs // 5, 32: arguments.runs}
                results[name] = measure_portal(url, flows, arguments.workers)
                continue
            try:
                results[name] = measure_peer(name, arguments.peers, url)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                skipped[name] = str(error)
    facts |= {"load_1min": round(os.getloadavg()[0], 1), "of": os.cpu_count()}
    show(results, skipped, facts)
    document = {"arguments": vars(arguments), "facts": facts, "skipped": skipped, "results": results}
    (OUT / "processes.json").write_text(json.dumps(document, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
