"""`python -m tests.bench.bench_events`: how fast events reach subscribers and browsers, and how fast the log verifies.

Needs DATABASE_URL (a server on which databases may be made) and CHANNEL_URL. The relay runs in its own process, as in
production. Goals: publish → subscriber p50 ≤ 100 ms and p99 ≤ 500 ms at 500 events/s; a million audit entries verified
in ≤ 60 s. The table is printed and kept as JSON in .run/bench/events.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench.environment import ROOT, throw_away_database

OUT = ROOT / ".run" / "bench"
PUBLISHERS = 4
GOALS_MS = {"p50": 100.0, "p99": 500.0}
VERIFY_GOAL_S = 60.0
console = Console()


@dataclass(frozen=True)
class BenchSent:
    """Payload: when it was sent (seconds since the epoch), and in which phase."""

    sent_at: float
    phase: str


def register() -> Any:
    """The event type and, for the relay's process, the subscriber that notes how late each event is."""
    from apps.events.contracts import EventRecord, EventType, Subscriber
    from apps.events.registries import event_types, subscribers

    event_types.register(
        EventType("bench.sent.v1", BenchSent, "A benchmark.", hint_kind="bench", hint_facts=("sent_at", "phase"))
    )

    class Lags(Subscriber):
        name = "bench.lags"
        types = ("bench.*",)
        from_beginning = False
        writes = False
        seen: list[tuple[str, float, float]] = []

        def handle(self, tenant: Any, event: EventRecord) -> None:
            moment = time.time()
            self.seen.append((event.data["phase"], moment - event.data["sent_at"], moment))

    return subscribers.register(Lags())


def run_relay_child(path: Path) -> None:
    """The relay's process: delivers until SIGTERM, then writes what it saw."""
    import django

    django.setup()
    lags = register()
    from apps.events.services.relay import Relay

    relay = Relay()
    signal.signal(signal.SIGTERM, lambda *_: relay.stop())
    thread = threading.Thread(target=lambda: relay.is_leader.wait() and path.with_suffix(".ready").touch())
    thread.start()
    relay.run()
    path.write_text(json.dumps(lags.seen))


@contextmanager
def relay_process(path: Path) -> Iterator[psutil.Process]:
    """The relay, leading when the block begins."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.bench_events", "--relay-child", str(path)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not path.with_suffix(".ready").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("The relay did not start.")
            time.sleep(0.05)
        time.sleep(1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


class HintListener:
    """A browser's place at the channel layer, in a thread with its own loop."""

    def __init__(self, tenant_ids: list[Any]) -> None:
        self.lags: list[tuple[str, float]] = []
        self._tenant_ids = tenant_ids
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)

    def __enter__(self) -> HintListener:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    async def _listen(self) -> None:
        from channels.layers import get_channel_layer

        from apps.core.services.hints import group_name

        layer = get_channel_layer()
        channel = await layer.new_channel()
        for tenant_id in self._tenant_ids:
            await layer.group_add(group_name(tenant_id, "benchs"), channel)
        self._ready.set()
        receiver = asyncio.ensure_future(self._receive(layer, channel))
        while not self._stop.is_set():
            await asyncio.sleep(0.1)
        receiver.cancel()
        await asyncio.gather(receiver, return_exceptions=True)
        await layer.flush()

    async def _receive(self, layer: Any, channel: str) -> None:
        while True:
            message = await layer.receive(channel)
            facts = message["facts"]
            self.lags.append((facts["phase"], time.time() - facts["sent_at"]))


def publish(tenants: list[Any], phase: str, *, per_s: float | None, count: int) -> tuple[list[float], float]:
    """Publish from several threads, at a rate or as fast as possible: (seconds of each publication, duration)."""
    from django.db import connection, transaction

    from apps.events.services.outbox import publish_event
    from apps.tenancy.services.context import tenant_context

    costs: list[float] = []
    began = time.monotonic()

    def work(worker: int) -> None:
        try:
            for number in range(worker, count, PUBLISHERS):
                if per_s is not None:
                    time.sleep(max(0.0, began + number / per_s - time.monotonic()))
                start = time.perf_counter()
                with tenant_context(tenants[number % len(tenants)]), transaction.atomic():
                    data = BenchSent(sent_at=time.time(), phase=phase)
                    publish_event("bench.sent.v1", subject=f"bench/{number % 50}", data=data)
                costs.append(time.perf_counter() - start)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(PUBLISHERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return costs, time.monotonic() - began


def quantiles_ms(values: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest, in milliseconds."""
    ordered = sorted(values)
    pick = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 1) for name, share in pick.items()
    }


def fill_audit_log(tenant: Any, count: int) -> float:
    """A correct chain of `count` entries by COPY, triggers off. Returns the seconds."""
    from django.db import connection

    from apps.audit.services.canonical import format_time
    from apps.audit.services.chain import GENESIS, compute_content_hash, compute_link
    from apps.core.clock import now
    from apps.core.ids import uuid7

    began = time.monotonic()
    schema, tenant_id = tenant.schema_name, str(tenant.id)
    with connection.cursor() as cursor:
        for table in ("audit_entry", "audit_head"):
            cursor.execute(f'ALTER TABLE "{schema}".{table} DISABLE TRIGGER USER')
        cursor.execute(f'SELECT number, hash FROM "{schema}".audit_head')
        number, previous = cursor.fetchone()
        previous = bytes(previous or GENESIS)
        columns = (
            "id, at, actor_kind, actor_name, action, target_type, target_id, summary, facts, request_id, "
            "content_hash, number, prev_hash, hash"
        )
        with cursor.copy(f'COPY "{schema}".audit_entry ({columns}) FROM STDIN') as copy:
            for _ in range(count):
                number += 1
                entry_id, at = uuid7(), now()
                facts = {"version": number, "from": "draft", "hash": entry_id.hex, "environment": "prod"}
                what = {
                    "actor_kind": "system",
                    "actor_name": "bench",
                    "action": "flow.published",
                    "target_type": "flow",
                    "target_id": entry_id.hex,
                    "summary": f"Published version {number} of Invoices to the warehouse.",
                    "request_id": "req-0123456789",
                }
                content = compute_content_hash(
                    tenant_id=tenant_id,
                    entry_id=str(entry_id),
                    at=format_time(at),
                    actor_id=None,
                    facts=facts,
                    **what,
                )
                link = compute_link(previous, number, content)
                copy.write_row(
                    [
                        entry_id,
                        at,
                        what["actor_kind"],
                        what["actor_name"],
                        what["action"],
                        what["target_type"],
                        what["target_id"],
                        what["summary"],
                        json.dumps(facts),
                        what["request_id"],
                        content,
                        number,
                        previous,
                        link,
                    ]
                )
                previous = link
        cursor.execute(f'UPDATE "{schema}".audit_head SET number = %s, hash = %s', [number, previous])
        for table in ("audit_entry", "audit_head"):
            cursor.execute(f'ALTER TABLE "{schema}".{table} ENABLE TRIGGER USER')
    return time.monotonic() - began


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, in one database that is thrown away."""
    import django

    django.setup()
    register()
    from django.core.management import call_command
    from django.db import connection

    from apps.access.contracts import Actor
    from apps.audit.services.verification import verify_chain
    from apps.tenancy.services.context import tenant_context
    from apps.tenancy.services.tenants import provision_tenant

    call_command("migrate_schemas", shared=True, verbosity=0)
    tenants = [
        provision_tenant(slug, slug, domains=[f"{slug}.localhost"], actor=Actor.system("bench"))
        for slug in ("bench-a", "bench-b")
    ]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lags.json"
        with HintListener([tenant.id for tenant in tenants]) as hints:
            with relay_process(path) as relay:
                publish(tenants, "warm", per_s=200, count=200)
                used = relay.cpu_times()
                costs, steady_s = publish(
                    tenants, "steady", per_s=arguments.rate, count=arguments.rate * arguments.seconds
                )
                time.sleep(2)
                cores = (sum(relay.cpu_times()[:2]) - sum(used[:2])) / (steady_s + 2)
                burst_costs, burst_s = publish(tenants, "burst", per_s=None, count=arguments.burst)
                burst_ended = time.time()
                time.sleep(5 + arguments.burst / 1000)
            lags = json.loads(path.read_text())
        steady = [lag for phase, lag, _ in lags if phase == "steady"]
        burst = [(lag, at) for phase, lag, at in lags if phase == "burst"]
        results["publish, one transaction each"] = quantiles_ms(costs)
        results["relay's processor use, machine's load"] = {
            "cores": round(cores, 2),
            "load_1min": round(os.getloadavg()[0], 1),
            "of": os.cpu_count(),
            "achieved_per_s": round(len(costs) / steady_s),
        }
        results[f"publish → subscriber at {arguments.rate}/s"] = quantiles_ms(steady)
        results[f"publish → channel layer at {arguments.rate}/s"] = quantiles_ms(
            [lag for phase, lag in hints.lags if phase == "steady"]
        )
        results["events sent, seen"] = {
            "sent": arguments.rate * arguments.seconds + arguments.burst,
            "seen": len(steady) + len(burst),
        }
        first = min(at - lag for lag, at in burst)
        results["burst"] = {
            "events": arguments.burst,
            "published_per_s": round(len(burst_costs) / burst_s),
            "delivered_per_s": round(len(burst) / (max(at for _, at in burst) - first)),
            "behind_at_end_s": round(max(at for _, at in burst) - burst_ended, 2),
        }
    if arguments.audit_rows:
        fill_audit_log(tenants[0], arguments.audit_rows)
        with tenant_context(tenants[0]):
            began, used = time.monotonic(), time.process_time()
            report = verify_chain()
            took, used = time.monotonic() - began, time.process_time() - used
        assert report.ok, report.findings
        results["audit verification"] = {
            "entries": report.entries,
            "seconds": round(took, 1),
            "own_cpu_s": round(used, 1),
        }
    connection.close()
    return results


def show(results: dict[str, Any], arguments: argparse.Namespace) -> bool:
    """Print the table; whether the goals are met."""
    table = Table("Measured", "Figures", "Goal")
    met = True
    for name, figures in results.items():
        goal = ""
        if name.startswith("publish → subscriber"):
            good = all(figures[key] <= limit for key, limit in GOALS_MS.items())
            goal = f"p50 ≤ 100 ms, p99 ≤ 500 ms: {'met' if good else 'MISSED'}"
            met &= good
        if name == "events sent, seen":
            good = figures["sent"] == figures["seen"]
            goal = f"all, once: {'met' if good else 'MISSED'}"
            met &= good
        if name == "audit verification":
            good = figures["seconds"] <= VERIFY_GOAL_S * figures["entries"] / 1e6
            goal = f"1 M in 60 s: {'met' if good else 'MISSED'}"
            met &= good
        table.add_row(name, ", ".join(f"{key} {value}" for key, value in figures.items()), goal)
    console.print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "events.json").write_text(
        json.dumps({"arguments": vars(arguments), "results": results}, indent=2, default=str)
    )
    return met


def main() -> int:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="events per second of the steady phase")
    parser.add_argument("--seconds", type=int, default=15, help="length of the steady phase")
    parser.add_argument("--burst", type=int, default=5000, help="events published as fast as possible")
    parser.add_argument("--audit-rows", type=int, default=1_000_000, help="entries to verify; 0 leaves it out")
    parser.add_argument("--relay-child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    if arguments.relay_child:
        run_relay_child(arguments.relay_child)
        return 0
    with throw_away_database(os.environ["DATABASE_URL"], f"bench_events_{os.getpid()}") as url:
        os.environ["DATABASE_URL"] = url
        return 0 if show(measure(arguments), arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
