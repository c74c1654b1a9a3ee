"""What the process engine is compared with: each peer in a process (and, where it is not ours, a Python) of its own.

`python flow_peers.py '{"peer": "dbos", …}'` prints a list of measurements as its last line. Not imported by the portal.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.flow_timing import STEPS, Watcher, drive

TOTAL = sum(range(STEPS))
Flows = dict[str, Callable[[], None]]


def check(found: object, wanted: object) -> None:
    """A fast wrong answer is no answer."""
    if found != wanted:
        raise AssertionError(f"the flow answered {found!r} in place of {wanted!r}")


@contextmanager
def dbos_flows(task: dict) -> Iterator[Flows]:
    """DBOS: steps are rows of its system database; the workflow runs in the submitting process."""
    from dbos import DBOS

    DBOS(config={"name": "bench", "system_database_url": task["url"], "log_level": "ERROR", "run_admin_server": False})

    @DBOS.step()
    def step(number: int) -> int:
        return number

    @DBOS.step()
    async def async_step(number: int) -> int:
        return number

    @DBOS.workflow()
    def sequential() -> int:
        return sum(step(number) for number in range(STEPS))

    @DBOS.workflow()
    async def parallel() -> int:
        return sum(await asyncio.gather(*[async_step(number) for number in range(STEPS)]))

    DBOS.launch()
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def one_parallel() -> int:
        handle = await DBOS.start_workflow_async(parallel)
        return await handle.get_result()

    try:
        yield {
            "sequential": lambda: check(DBOS.start_workflow(sequential).get_result(), TOTAL),
            "parallel": lambda: check(asyncio.run_coroutine_threadsafe(one_parallel(), loop).result(), TOTAL),
        }
    finally:
        DBOS.destroy()


@contextmanager
def prefect_flows(task: dict) -> Iterator[Flows]:
    """Prefect with its own server on this machine; flow and tasks run in the submitting process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(
        PREFECT_HOME=tempfile.mkdtemp(prefix="bench-prefect-"),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_LOGGING_LEVEL="ERROR",
        PREFECT_LOGGING_TO_API_ENABLED="false",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for_prefect(port)
        yield from prefect_shapes()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def wait_for_prefect(port: int) -> None:
    """Return when the server answers."""
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def prefect_shapes() -> Iterator[Flows]:
    """A flow of tasks, one after the other and at the same time."""
    from prefect import flow
    from prefect import task as prefect_task

    @prefect_task
    def step(number: int) -> int:
        return number

    @flow
    def sequential() -> int:
        return sum(step(number) for number in range(STEPS))

    @flow
    def parallel() -> int:
        return sum(future.result() for future in [step.submit(number) for number in range(STEPS)])

    yield {"sequential": lambda: check(sequential(), TOTAL), "parallel": lambda: check(parallel(), TOTAL)}


@contextmanager
def celery_flows(task: dict) -> Iterator[Flows]:
    """Celery's chain and group; results in the broker's own server, which is asked once for all that wait."""
    from celery import chain, group

    from tests.bench.celery_peer import app, follow, noop

    store = app.backend.client

    def key(task_id: str) -> str:
        return app.backend.get_key_for_task(task_id).decode()

    def look(tokens: list[tuple[tuple[str, ...], int]]) -> list[tuple[tuple[str, ...], int]]:
        found = iter(store.mget([key(task_id) for ids, _ in tokens for task_id in ids]))
        ended = []
        for token in tokens:
            answers = [json.loads(raw) if raw else None for raw in [next(found) for _ in token[0]]]
            if all(answers):
                check([answer["status"] for answer in answers], ["SUCCESS"] * len(answers))
                check(sum(answer["result"] for answer in answers), token[1])
                ended.append(token)
        return ended

    with Watcher(look) as watcher:

        def sequential() -> None:
            sent = chain(noop.s(1), *[follow.s() for _ in range(STEPS - 1)]).apply_async()
            watcher.wait(((sent.id,), STEPS))

        def parallel() -> None:
            sent = group(noop.s(number) for number in range(STEPS)).apply_async()
            watcher.wait((tuple(one.id for one in sent.results), TOTAL))

        yield {"sequential": sequential, "parallel": parallel}


@contextmanager
def limit_flows(task: dict) -> Iterator[Flows]:
    """The physical limit: each step an INSERT with its own commit, from as many connections as flows at once."""
    import psycopg

    with psycopg.connect(task["url"], autocommit=True) as setup:
        setup.execute("DROP TABLE IF EXISTS bench_step")
        setup.execute("CREATE TABLE bench_step (id uuid PRIMARY KEY, flow uuid, number int, output jsonb)")
    mine = threading.local()
    insert = "INSERT INTO bench_step VALUES (gen_random_uuid(), gen_random_uuid(), %s, '{\"i\": 1}')"

    def session() -> psycopg.Connection:
        if not hasattr(mine, "session"):
            mine.session = psycopg.connect(task["url"], autocommit=True, prepare_threshold=1)
        return mine.session

    def sequential() -> None:
        for number in range(STEPS):
            check(session().execute(insert, [number]).rowcount, 1)

    def one_commit() -> None:
        with session().transaction():
            sequential()

    yield {"sequential": sequential, "one commit a flow": one_commit}


PEERS = {"dbos": dbos_flows, "prefect": prefect_flows, "celery": celery_flows, "limit": limit_flows}


def main() -> None:
    """Measure what the JSON argument asks for: peer, url, and flows by concurrency."""
    task = json.loads(sys.argv[1])
    found = []
    with PEERS[task["peer"]](task) as shapes:
        for shape, run_one in shapes.items():
            drive(run_one, min(20, *task["flows"].values()), 4)
            for concurrency, flows in task["flows"].items():
                found.append(
                    {"shape": shape, "concurrency": int(concurrency), **drive(run_one, flows, int(concurrency))}
                )
    print("\n" + json.dumps(found), flush=True)
    os._exit(0)  # a peer's background threads are not worth waiting for


if __name__ == "__main__":
    main()
