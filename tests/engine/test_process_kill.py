"""`kill -9` of workers in the middle of processes: runs end well, a step has one outcome, an effect is there once."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import redis
from aiohttp import web
from django.conf import settings

from apps.connectors.services.connections import create_connection
from apps.engine.choices import ENDED_RUN_STATUSES, RunStatus
from apps.engine.models import Run, RunLog, StepResult
from apps.engine.services.runs import StartRequest, start_run
from apps.engine.services.sweeping import sweep_tenant
from apps.events.models import Event
from apps.events.registries import subscribers
from apps.events.services.delivery import deliver_events
from apps.events.services.numbering import number_events
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.flows import publish_flow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.connectors.rest_server import ApiServer, serve
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import process, run, start, step, value
from tests.engine.systems import execute, target_rows, unique_name
from tests.engine.test_kill import start_load_worker, wait_for
from tests.processes import Child, database_url, running

pytestmark = [pytest.mark.committed]
ITEMS, ROUNDS = 4, 3
FIELDS = [{"name": "id", "type": "BIGINT"}, {"name": "run", "type": "BIGINT"}]
# Every path of one run: see `Processes.definition`.
PATHS = {
    "begin", "par", "par:timer/nap", "par:timer/tell", "par:waits/await", "par:slow/ask", "par.end", "call", "each",
    *(f"each[{i}]/{id_}" for i in range(ITEMS) for id_ in ("put", "twice")), "each.end", "loop",
    *(f"loop[{i}].check" for i in range(ROUNDS + 1)), *(f"loop[{i}]/tick" for i in range(ROUNDS)), "loop.end",
    ".output",
}  # fmt: skip


@pytest.fixture
def broker(committed_acme: Tenant) -> Iterator[None]:
    """No message of earlier tests, and none for later ones; inside acme."""
    connection = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    connection.flushdb()
    with tenant_context(committed_acme):
        yield
        active = Run.objects.exclude(status__in=ENDED_RUN_STATUSES)
        active.update(status=RunStatus.CANCELLED)  # a failed test leaves the sweeper nothing to do
    connection.flushdb()
    connection.close()


@pytest.fixture
def outcomes(committed_acme: Tenant) -> Iterator[str]:
    """A table with a row for each time that a step's row got an outcome, written by the database itself."""
    table = f"public.{unique_name('outcomes')}"
    steps = f'"{committed_acme.schema_name}".engine_stepresult'
    execute(f"CREATE TABLE {table} (run uuid, path text, attempt int, status text)")
    execute(f"GRANT INSERT, SELECT ON {table} TO PUBLIC")
    execute(
        f"CREATE FUNCTION {table}_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" INSERT INTO {table} VALUES (NEW.run_id, NEW.path, NEW.attempt, NEW.status); RETURN NULL; END $$"
    )
    execute(
        f"CREATE TRIGGER note_outcome AFTER INSERT OR UPDATE OF status, output ON {steps} FOR EACH ROW"
        " WHEN (NEW.status IN ('succeeded', 'failed', 'skipped', 'cancelled') AND NEW.ended_at IS NOT NULL)"
        f" EXECUTE FUNCTION {table}_note()"
    )
    yield table
    execute(f"DROP TRIGGER note_outcome ON {steps}")
    execute(f"DROP FUNCTION {table}_note()")
    execute(f"DROP TABLE {table}")


class Processes:
    """Runs of one process that has everything in it, and what must be true of them in the end."""

    def __init__(self, tenant: Tenant, outcomes: str, count: int) -> None:
        self.tenant, self.outcomes = tenant, outcomes
        self.target, self.event = unique_name("kill"), unique_name("go").lower()
        # The table is there before many runs write into it side by side.
        run(process(self.put(), value("x")), {"n": -1})
        child = make_flow(process(value("x", n="input.n + 1"), output={"n": "steps.x.output.n"}))
        deploy_version(
            child.pk, environment="dev", version=publish_flow(child.pk, actor=SYSTEM).version.number, actor=SYSTEM
        )
        flow = make_flow(self.definition(child.slug))
        self.runs = [
            start_run(StartRequest(flow.pk, "dev", version="draft", parameters={"n": n}), actor=SYSTEM).pk
            for n in range(count)
        ]

    def put(self) -> Any:
        rows = "[{'id': 0, 'run': input.n}]"
        config = {"connection": "warehouse", "entity": self.target, "rows": rows, "fields": FIELDS}
        return step("put", "write", config={**config, "disposition": "append"})

    def definition(self, child: str) -> Any:
        write = self.put()
        write["config"]["rows"] = "[{'id': item, 'run': input.n}]"
        timer = [
            step("nap", "delay", config={"seconds": "0.5"}),
            step("tell", "publish", config={"event": self.event, "correlation": "input.n", "data": {"n": "input.n"}}),
        ]
        waits = {"event": self.event, "correlation": "input.n", "look_back": True, "timeout_s": "300"}
        asks = {"connection": "warehouse", "text": "SELECT 7 AS seven FROM pg_sleep(0.2)"}
        branches = [
            {"name": "timer", "steps": timer},
            {"name": "waits", "steps": [step("await", "wait", config=waits)]},
            {"name": "slow", "steps": [step("ask", "query", config=asks)]},
        ]
        each = {"items": "[1, 2, 3, 4]", "concurrency": 2, "steps": [write, value("twice", n="item * 2")]}
        loop = {
            "state": {"i": "0"},
            "condition": f"state.i < {ROUNDS}",
            "next": {"i": "state.i + 1"},
            "steps": [step("tick", "delay", config={"seconds": "0.1"})],
        }
        return process(
            value("begin", n="input.n"),
            step("par", "parallel", config={"join": "all", "branches": branches}),
            step("call", "flow", config={"flow": child, "input": {"n": "input.n"}}),
            step("each", "foreach", config=each),
            step("loop", "while", config=loop),
            output={
                "n": "steps.call.output.n",
                "sum": "list_sum([r.n for r in steps.each.output.results])",
                "rounds": "steps.loop.output.iterations",
            },
        )

    def ended(self) -> int:
        return Run.objects.filter(pk__in=self.runs, status__in=ENDED_RUN_STATUSES).count()

    def done_steps(self) -> int:
        return StepResult.objects.filter(run__in=self.runs, status="succeeded").count()

    def look(self) -> bool:
        """The work of beat and relay, at the pace of the test's short leases."""
        sweep_tenant()
        number_events()
        deliver_events(subscribers.get("engine.waiters"))
        return self.ended() == len(self.runs)

    def describe(self) -> str:
        open_runs = Run.objects.filter(pk__in=self.runs).exclude(status=RunStatus.SUCCEEDED)
        lines = [f"{one.pk} {one.status} {one.error or ''}" for one in open_runs]
        for one in StepResult.objects.filter(run__in=open_runs).exclude(status="succeeded").order_by("run", "position"):
            lines.append(f"{one} deliveries={one.deliveries} due={one.due_at} rung={one.rung_at} {one.error or ''}")
        lines += RunLog.objects.filter(run__in=open_runs).order_by("run", "seq").values_list("message", flat=True)
        return "\n".join(lines[:200])

    def check(self) -> None:
        for number, run_id in enumerate(self.runs):
            ended = Run.objects.get(pk=run_id)
            assert ended.status == RunStatus.SUCCEEDED, self.describe()
            assert ended.result == {"n": number + 1, "sum": ITEMS * (ITEMS + 1), "rounds": ROUNDS}
            self.check_steps(run_id)
            assert Run.objects.filter(parent=run_id).count() == 1, "the sub-process was started once"
        effects = Counter(target_rows(self.tenant, self.target, "run, id"))
        wanted = {(number, item): 1 for number in range(len(self.runs)) for item in range(1, ITEMS + 1)}
        assert effects == {**wanted, (-1, 0): 1}, "each row was written once"
        messages = Event.objects.filter(type__endswith="process.message.v1", data__name=self.event)
        assert Counter(messages.values_list("data__run_id", flat=True)) == {str(run_id): 1 for run_id in self.runs}

    def check_steps(self, run_id: UUID) -> None:
        rows = list(StepResult.objects.filter(run=run_id).order_by("path", "attempt"))
        good = [one.path for one in rows if one.status == "succeeded"]
        assert sorted(good) == sorted(PATHS), "every step has succeeded, once"
        assert {one.status for one in rows} <= {"succeeded", "failed"}
        recorded = execute(
            f"SELECT path, attempt, count(*) FROM {self.outcomes} WHERE run = %s GROUP BY 1, 2", (run_id,)
        )
        assert {(path, attempt): count for path, attempt, count in recorded if count != 1} == {}, "one outcome each"
        assert len(recorded) == len(rows)


def kill_in_the_middle(work: Processes, folder: Path, *, kills: int, seed: int) -> None:
    """`kill -9` of all workers, again and again at random moments, then a worker that may live."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(kills):
        before = work.done_steps()
        doomed = start_load_worker(folder, f"doomed{number}")
        try:
            wait_for(lambda n=before: work.look() or work.done_steps() > n, "some progress", every_s=0.1)
            until = time.monotonic() + chance.uniform(0, 1.5)
            while time.monotonic() < until and not work.look():
                time.sleep(0.05)  # the moment of the kill is drawn, not waited for
        finally:
            doomed.kill_group()
    with running(start_load_worker(folder, "last")):
        try:
            wait_for(work.look, "the runs' end", every_s=0.2)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{work.describe()}") from None


def test_killed_workers_leave_complete_processes(
    broker: None, committed_acme: Tenant, outcomes: str, tmp_path: Path
) -> None:
    work = Processes(committed_acme, outcomes, 3)
    kill_in_the_middle(work, tmp_path, kills=2, seed=1)
    work.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("CHAOS_RUNS", "20"))))
def test_many_kills_of_processes(
    broker: None, committed_acme: Tenant, outcomes: str, tmp_path: Path, seed: int
) -> None:
    """`make test-chaos`: 0 of n lost bounds the rate below 3/n (95 %)."""
    work = Processes(committed_acme, outcomes, 12)
    kill_in_the_middle(work, tmp_path, kills=2 + seed % 2, seed=seed)
    work.check()


def test_worker_killed_between_write_and_record_has_written_once(
    broker: None, committed_acme: Tenant, tmp_path: Path
) -> None:
    target = unique_name("once")
    config = {"connection": "warehouse", "entity": target, "fields": FIELDS, "disposition": "append"}

    def put(rows: str) -> Any:
        return process(step("put", "write", config={**config, "rows": rows}))

    run(put("[{'id': 0, 'run': 0}]"))
    started = start(put("[{'id': 1, 'run': 1}]"))
    table = f'"{committed_acme.warehouse_schema}"."{target}"'
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
    with psycopg.connect(database_url()) as gate, psycopg.connect(database_url()) as lock:
        gate.execute(f'SET ROLE "{committed_acme.db_role}"')
        gate.execute(f"LOCK TABLE {table} IN SHARE MODE")
        doomed = start_load_worker(tmp_path, "doomed", concurrency=1)
        try:
            wait_for(
                lambda: execute(waiting, (table,), role=committed_acme.db_role)[0][0],
                "the write at the gate",
                timeout_s=30,
                every_s=0.02,
            )
            lock.execute(
                f'SELECT 1 FROM "{committed_acme.schema_name}".engine_run WHERE id = %s FOR UPDATE', (started.pk,)
            )
            gate.commit()
            rows = "SELECT count(*) FROM " + table
            wait_for(lambda: execute(rows, role=committed_acme.db_role) == [(2,)], "the committed row", timeout_s=30)
            assert StepResult.objects.get(run=started).status == "running", "and nothing is recorded"
        finally:
            doomed.kill_group()
    with running(start_load_worker(tmp_path, "second", concurrency=1)):
        wait_for(lambda: (sweep_tenant() and ended(started)) or ended(started), "the run's end", every_s=0.3)
    step_row = StepResult.objects.get(run=started)
    assert (step_row.status, step_row.deliveries, step_row.output["inserted"]) == ("succeeded", 2, 1)
    assert target_rows(committed_acme, target, "id, run") == [(0, 0), (1, 1)]


def test_worker_killed_while_the_api_answers_sends_the_same_key_again(
    broker: None, committed_acme: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed: list[Child] = []
    with serve() as api:

        async def take_and_kill(request: web.Request) -> web.StreamResponse:
            answer = await ApiServer.send_orders(api, request)
            if doomed:
                await asyncio.to_thread(doomed.pop().kill_group)
            return answer

        monkeypatch.setattr(api, "send_orders", take_and_kill)
        slug = unique_name("api").replace("_", "-")
        resources = [{"name": "orders", "path": "orders"}]
        settings = {"base_url": api.base_url, "resources": resources, "requests_per_second": 100}
        create_connection(name=slug, slug=slug, connector="rest", config=settings, secrets={}, actor=SYSTEM)
        fields = [{"name": "id", "type": "BIGINT"}, {"name": "total", "type": "DECIMAL(18,2)"}]
        rows = "[{'id': 1, 'total': 1.5}]"
        config = {"connection": slug, "entity": "orders", "rows": rows, "fields": fields, "disposition": "append"}
        started = start(process(step("put", "write", config=config)))
        doomed.append(start_load_worker(tmp_path, "doomed", concurrency=1))
        wait_for(lambda: not doomed, "the kill", timeout_s=30)
        with running(start_load_worker(tmp_path, "second", concurrency=1)):
            wait_for(lambda: (sweep_tenant() and ended(started)) or ended(started), "the run's end", every_s=0.3)
        assert [StepResult.objects.get(run=started).status, len(api.requests)] == ["succeeded", 2]
        assert len(api.written) == 1, "both requests had the same key"


def ended(started: Run) -> bool:
    return bool(Run.objects.filter(pk=started.pk, status__in=ENDED_RUN_STATUSES).exists())
