"""`python -m tests.bench.bench_webhooks`: webhooks in beside bare endpoints, and events out to a webhook.

Needs DATABASE_URL (a server on which databases may be made) and CHANNEL_URL. One uvicorn process each for a bare ASGI
endpoint with an INSERT per request, the same with grouped INSERTs, and the portal (which also verifies a signature and
publishes an event); they take turns under the same 32 connections, in one run. Goals: ≥ 0.6 × the grouped bare
endpoint, ≥ 1.5 × the ungrouped one, p99 ≤ 50 ms. Out: published → called p50 ≤ 100 ms, p99 ≤ 500 ms at 500 events/s.
The table is printed and kept as JSON in .run/bench/webhooks.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from tests.bench.bare_webhooks import TABLE
from tests.bench.bench_events import quantiles_ms
from tests.bench.environment import ROOT, throw_away_database

OUT = ROOT / ".run" / "bench"
HOST = "bench-a.localhost"
CONNECTIONS = 32
GOALS = {"of the grouped bare endpoint": 0.6, "of the ungrouped bare endpoint": 1.5}
SERVERS = {
    "bare, one INSERT each": "tests.bench.bare_webhooks:one_insert",
    "bare, grouped INSERTs": "tests.bench.bare_webhooks:grouped",
    "portal /hooks/": "config.asgi:application",
}
console = Console()


@dataclass(frozen=True)
class BenchPaid:
    """Payload of the outgoing events."""

    sent_at: float
    number: int


@contextmanager
def server(application: str) -> Iterator[int]:
    """A uvicorn process; answers when the block begins."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--log-level", "error"]
    process = subprocess.Popen([*command, "--no-access-log", "--lifespan", "off"], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{application} did not start") from None
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def make_requests(path: str, secret: str, count: int) -> list[bytes]:
    """Signed requests as bytes, made before the clock runs."""
    from apps.events.services.signatures import build_headers

    found = []
    for number in range(count):
        body = json.dumps({"id": number, "type": "invoice.paid", "amount": "120.50", "lines": ["x" * 40] * 8}).encode()
        signed = build_headers([secret], message_id=str(uuid.uuid4()), timestamp=int(time.time()), body=body)
        lines = [f"POST {path} HTTP/1.1", f"host: {HOST}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in signed.items()]
        found.append("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body)
    return found


async def load(port: int, requests: list[bytes]) -> tuple[list[float], float]:
    """Send all over 32 connections, each waiting for its answer; (seconds of each, duration). Every answer is a 202."""
    left = iter(requests)
    costs: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in left:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(head.decode())
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            costs.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return costs, time.perf_counter() - began


def measure_in(arguments: argparse.Namespace, path: str, secret: str) -> dict[str, dict[str, Any]]:
    """The three servers by turns; the figures of all rounds together."""
    costs: dict[str, list[float]] = {name: [] for name in SERVERS}
    rates: dict[str, list[float]] = {name: [] for name in SERVERS}
    for round_ in range(arguments.rounds + 1):
        for name, application in SERVERS.items():
            with server(application) as port:
                asyncio.run(load(port, make_requests(path, secret, 500)))
                found, took_s = asyncio.run(load(port, make_requests(path, secret, arguments.count)))
            if round_:  # the first round warms caches and files
                costs[name] += found
                rates[name].append(len(found) / took_s)
    return {
        name: {"per_s": round(sorted(rates[name])[len(rates[name]) // 2]), **quantiles_ms(costs[name])}
        for name in SERVERS
    }


def measure_out(arguments: argparse.Namespace, tenant: Any) -> dict[str, Any]:
    """Published → called, at a steady rate, with the relay and its dispatcher in a process of their own."""
    from django.db import connection, transaction

    from apps.events.contracts import EventType
    from apps.events.registries import event_types
    from apps.events.services.outbox import publish_event
    from apps.events.services.subscriptions import create_subscription
    from apps.tenancy.services.context import tenant_context
    from tests.events.hooks import SYSTEM

    event_types.register(EventType("bench.paid.v1", BenchPaid, "A benchmark."))
    relay = subprocess.Popen([sys.executable, "manage.py", "run_relay"], cwd=ROOT, stdout=subprocess.DEVNULL)
    count = arguments.rate * arguments.seconds
    try:
        with server("tests.bench.bare_webhooks:receiver") as port, tenant_context(tenant):
            url = f"http://127.0.0.1:{port}/hook"
            create_subscription("bench", target="webhook", config={"url": url}, types=["bench.*"], actor=SYSTEM)

            def lags() -> list[float]:
                with urllib.request.urlopen(url) as answer:
                    return list(json.load(answer))

            for _ in range(20):
                with transaction.atomic():
                    publish_event("bench.paid.v1", subject="b/0", data=BenchPaid(time.time(), -1))
            time.sleep(8)
            began = time.monotonic()
            for number in range(count):
                time.sleep(max(0.0, began + number / arguments.rate - time.monotonic()))
                with transaction.atomic():
                    publish_event("bench.paid.v1", subject=f"b/{number % 50}", data=BenchPaid(time.time(), number))
            took_s = time.monotonic() - began
            deadline = time.monotonic() + 60
            while len(found := lags()) < count and time.monotonic() < deadline:
                time.sleep(0.5)
        connection.close()
    finally:
        relay.terminate()
        relay.wait(30)
    return {"published_per_s": round(count / took_s), "sent": count, "called": len(found), **quantiles_ms(found)}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, in one database that is thrown away."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from apps.access.contracts import Actor
    from apps.events.services.inbound_endpoints import create_endpoint
    from apps.tenancy.services.context import tenant_context
    from apps.tenancy.services.tenants import provision_tenant

    call_command("migrate_schemas", shared=True, verbosity=0)
    tenant = provision_tenant("bench-a", "bench-a", domains=[HOST], actor=Actor.system("bench"))
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as plain:
        plain.execute(TABLE)
        began = time.perf_counter()
        for _ in range(200):
            plain.execute("INSERT INTO bare_hook VALUES (gen_random_uuid(), gen_random_uuid()::text, '', '{}')")
        commit_ms = (time.perf_counter() - began) * 1000 / 200
    with tenant_context(tenant):
        row, secret = create_endpoint("bench", scheme="standard-webhooks", actor=Actor.system("bench"))
    connection.close()
    results: dict[str, Any] = measure_in(arguments, f"/hooks/{row.public_id}", str(secret))
    ours = results["portal /hooks/"]["per_s"]
    results["portal's share"] = {
        "of the grouped bare endpoint": round(ours / results["bare, grouped INSERTs"]["per_s"], 2),
        "of the ungrouped bare endpoint": round(ours / results["bare, one INSERT each"]["per_s"], 2),
    }
    results["machine"] = {
        "one commit, ms": round(commit_ms, 2), "load_1min": round(os.getloadavg()[0], 1), "of": os.cpu_count()
    }  # fmt: skip
    if arguments.seconds:
        results[f"published → called at {arguments.rate}/s"] = measure_out(arguments, tenant)
    return results


def show(results: dict[str, Any], arguments: argparse.Namespace) -> bool:
    """Print the table; whether the goals are met."""
    table = Table("Measured", "Figures", "Goal")
    met = True
    for name, figures in results.items():
        goals: dict[str, bool] = {}
        if name == "portal's share":
            goals = {f"≥ {least} × {what}": figures[what] >= least for what, least in GOALS.items()}
        elif name == "portal /hooks/":
            goals = {"p99 ≤ 50 ms": figures["p99"] <= 50}
        elif name.startswith("published → called"):
            goals = {"p50 ≤ 100 ms": figures["p50"] <= 100, "p99 ≤ 500 ms": figures["p99"] <= 500}
            goals["all"] = figures["sent"] == figures["called"]
        met &= all(goals.values())
        said = ", ".join(f"{goal}: {'met' if good else 'MISSED'}" for goal, good in goals.items())
        table.add_row(name, ", ".join(f"{key} {value}" for key, value in figures.items()), said)
    console.print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "webhooks.json").write_text(json.dumps({"arguments": vars(arguments), "results": results}, indent=2))
    return met


def main() -> int:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8000, help="requests of each round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count; one more warms up")
    parser.add_argument("--rate", type=int, default=500, help="outgoing events per second")
    parser.add_argument("--seconds", type=int, default=15, help="length of the outgoing phase; 0 leaves it out")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    with throw_away_database(os.environ["DATABASE_URL"], f"bench_webhooks_{os.getpid()}") as url:
        os.environ["DATABASE_URL"] = url
        return 0 if show(measure(arguments), arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
