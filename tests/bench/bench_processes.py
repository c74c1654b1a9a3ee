"""10-step no-op process through a real worker: flows a second and latency from trigger to finished.

`python -m tests.bench.bench_processes [--runs N]` needs DATABASE_URL and BROKER_URL. It makes a database of its own,
starts one worker for the control queue, and submits with concurrency 1 and 32. A run counts only if it succeeded
and each of its steps is recorded.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

STEPS = 10


def main() -> None:
    """Print one line for each concurrency."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
    import django

    django.setup()
    from django.conf import settings
    from django.core.cache import cache
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    import config.celery  # noqa: F401
    from apps.access.contracts import Actor
    from apps.tenancy.selectors import get_tenant
    from apps.tenancy.services.context import tenant_context
    from apps.tenancy.services.tenants import provision_tenant
    from tests.processes import database_url, start_worker

    made = setup_databases(verbosity=0, interactive=False)
    settings.WAREHOUSE_URL = settings.DATABASE_URL = database_url()
    cache.clear()
    connection.set_schema_to_public()
    provision_tenant("acme", "Acme", domains=["acme.localhost"], actor=Actor.system("bench"))
    folder = Path(tempfile.mkdtemp())
    worker = start_worker(folder, name="control", queues="control", concurrency=options.workers)
    try:
        with tenant_context(get_tenant("acme")):
            flow_id = make_flow()
            measure(flow_id, 20, 4)
            for concurrency in (1, 32):
                measure(flow_id, options.runs, concurrency, show=True)
    finally:
        worker.stop()
        connection.set_schema_to_public()
        teardown_databases(made, verbosity=0)


def make_flow() -> Any:
    """A published, deployed process of no-op steps."""
    from apps.access.contracts import Actor
    from apps.integrations.services.deployments import deploy_version
    from apps.integrations.services.flows import create_flow, publish_flow

    actor = Actor.system("bench")
    steps = [{"id": f"s{i}", "kind": "transform", "config": {"constants": {"i": i}}} for i in range(STEPS)]
    flow = create_flow("Bench", definition={"schema": "process/1", "kind": "process", "steps": steps}, actor=actor)
    publish_flow(flow.pk, actor=actor)
    deploy_version(flow.pk, environment="dev", version=1, actor=actor)
    return flow.pk


def measure(flow_id: Any, runs: int, concurrency: int, *, show: bool = False) -> None:
    """Submit `runs` runs, at most `concurrency` not finished at once, and read their times from the database."""
    from django.db import connection

    from apps.access.contracts import Actor
    from apps.engine.models import Run, StepResult
    from apps.engine.services.runs import StartRequest, start_run
    from apps.tenancy.services.context import require_tenant, tenant_context

    tenant = require_tenant()
    numbers = iter(range(runs))
    lock = threading.Lock()
    latencies: list[float] = []
    ids: list[Any] = []
    pending: dict[Any, threading.Event] = {}
    closing = threading.Event()

    def watch() -> None:
        """One reader for all submitters: thirty-two of them polling would measure themselves."""
        with tenant_context(tenant):
            while not closing.wait(0.002):
                with lock:
                    waiting = dict(pending)
                if not waiting:
                    continue
                for found in Run.objects.filter(pk__in=list(waiting), status="succeeded").values_list("pk", flat=True):
                    waiting[found].set()
                    with lock:
                        pending.pop(found, None)
        connection.close()

    def submit() -> None:
        with tenant_context(tenant):
            while True:
                with lock:
                    if next(numbers, None) is None:
                        break
                begun, ended = time.perf_counter(), threading.Event()
                run = start_run(StartRequest(flow_id, "dev"), actor=Actor.system("bench"))
                with lock:
                    pending[run.pk] = ended
                if not ended.wait(60):
                    raise SystemExit(f"Run {run.pk} has not ended.")
                with lock:
                    latencies.append(time.perf_counter() - begun)
                    ids.append(run.pk)
        connection.close()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    begun = time.perf_counter()
    threads = [threading.Thread(target=submit) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    closing.set()
    watcher.join()
    recorded = StepResult.objects.filter(run_id__in=ids, status="succeeded").count()
    assert recorded == runs * STEPS, f"{recorded} of {runs * STEPS} steps are recorded"
    if show:
        ordered = sorted(latencies)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        print(
            f"concurrency {concurrency:>2}: {runs / seconds:7.1f} flows/s {runs * STEPS / seconds:8.0f} steps/s"
            f"  p50 {statistics.median(ordered) * 1000:6.1f} ms  p99 {p99 * 1000:6.1f} ms"
        )


if __name__ == "__main__":
    main()
