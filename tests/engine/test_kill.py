"""Workers that die, sleep or are called twice: the target ends complete and free of doubles, without anyone's help."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import current_app
from django.conf import settings

from apps.engine.choices import ENDED_RUN_STATUSES, RunStatus, StepStatus
from apps.engine.models import Run, RunLog, StepResult
from apps.engine.services.controlling import resume_run
from apps.engine.services.runs import StartRequest, start_run
from apps.engine.services.sweeping import sweep_tenant
from apps.quality.models import QuarantinedRow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM, flow_definition, make_flow
from tests.engine.systems import (
    drop_table,
    execute,
    make_database_connection,
    make_source_table,
    staging_tables,
    target_rows,
    unique_name,
)
from tests.processes import Child, running, start, start_beat

ROWS = 60_000
LIMITS = {"lease_s": 2.0, "doorbell_grace_s": 1.5, "batch_rows": 500, "auto_partition_rows": 10**9}
END_TIMEOUT_S = 90
pytestmark = [pytest.mark.committed]


def start_load_worker(folder: Path, name: str, *, concurrency: int = 2) -> Child:
    """A worker with a short lease and small batches, so that there is time to hit it."""
    command = [sys.executable, "-m", "celery", "-A", "config.celery", "worker", "-Q", "control,loads"]
    command += ["-c", str(concurrency), "-n", f"{name}-{os.getpid()}@%h", "--without-gossip", "--without-mingle"]
    return start(name, [*command, "-l", "INFO"], folder, ENGINE=json.dumps(LIMITS))


def wait_for(check: Callable[[], Any], what: str, *, timeout_s: float = END_TIMEOUT_S, every_s: float = 0.05) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(every_s)
    raise AssertionError(f"waited {timeout_s} s for {what}")


class Load:
    """A load of a source table into the warehouse, and what must be true of it in the end."""

    def __init__(self, tenant: Tenant, *, partitions: int = 1, disposition: str = "upsert") -> None:
        self.tenant = tenant
        self.table = make_source_table(ROWS)
        # Every hundredth total is negative and must end in the quarantine, once.
        execute(f"UPDATE public.{self.table} SET total = -total WHERE id %% 100 = 0".replace("%%", "%"))
        self.target = unique_name("kill")
        connection = make_database_connection()
        load = {"mode": "partitioned", "partitions": partitions} if partitions > 1 else {"mode": "full"}
        definition = flow_definition(
            source=connection.slug,
            entity=f"public.{self.table}",
            target=self.target,
            disposition=disposition,
            load=load,
            validations=[
                {
                    "id": "positive",
                    "expression": "total >= 0",
                    "message": "Total must not be negative",
                    "field": "total",
                    "severity": "quarantine",
                }
            ],
            controls=[{"name": "Total", "source": "total", "target": "total", "aggregate": "sum", "tolerance": "0.00"}],
        )
        self.flow = make_flow(definition)
        self.run = start_run(StartRequest(self.flow.pk, "dev", version="draft"), actor=SYSTEM)

    def status(self) -> str:
        return Run.objects.values_list("status", flat=True).get(pk=self.run.pk)

    def ended(self) -> bool:
        return self.status() in ENDED_RUN_STATUSES

    def is_reading(self) -> bool:
        return Run.objects.values_list("rows_read", flat=True).get(pk=self.run.pk) > 0

    def is_delivered(self, times: int) -> bool:
        """Whether a worker executes the part for the so-many-th time; sweeps on the way."""
        sweep_tenant()
        part = StepResult.objects.filter(run=self.run, path="load/part[0]", status=StepStatus.RUNNING)
        return part.filter(deliveries=times).exists()

    def sweep_until_ended(self) -> None:
        """The beat's work, at the pace of the test's short leases."""

        def look() -> bool:
            sweep_tenant()
            return self.ended()

        try:
            wait_for(look, "the run's end", every_s=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def describe(self) -> str:
        """Where everything stands, for a failing test."""
        steps = StepResult.objects.filter(run=self.run).order_by("position", "attempt")
        lines = [f"run {self.status()}"]
        for step in steps:
            lines.append(
                f"{step.path}#{step.attempt} {step.status} deliveries={step.deliveries} fence={step.lease_epoch}"
                f" owner={step.lease_owner} lease={step.lease_expires_at} due={step.due_at} rung={step.rung_at}"
                f" {step.error or ''}"
            )
        lines += RunLog.objects.filter(run=self.run).order_by("seq").values_list("message", flat=True)
        return "\n".join(lines)

    def check_complete(self) -> None:
        self.run.refresh_from_db()
        assert self.run.status == RunStatus.SUCCEEDED, self.run.error
        good = ROWS - ROWS // 100
        rows = target_rows(self.tenant, self.target, "count(*), count(DISTINCT id), sum(total)")
        assert rows[0][:2] == (good, good)
        expected = execute(f"SELECT sum(total) FROM public.{self.table} WHERE total >= 0")[0][0]
        assert rows[0][2] == expected
        row_ids = list(QuarantinedRow.objects.filter(run_id=self.run.pk).values_list("row_id", flat=True))
        assert (len(row_ids), len(set(row_ids))) == (ROWS // 100, ROWS // 100)
        assert (self.run.rows_read, self.run.rows_quarantined) == (ROWS, ROWS // 100)
        # One recorded outcome a step; and nothing is left lying about.
        done = StepResult.objects.filter(run=self.run, status=StepStatus.SUCCEEDED).values_list("path", flat=True)
        assert len(done) == len(set(done))
        assert staging_tables(self.tenant, self.run.pk) == []

    def drop(self) -> None:
        drop_table(self.table)


@pytest.fixture
def loads(committed_acme: Tenant) -> Iterator[Callable[..., Load]]:
    """Makes loads inside acme; their tables go in the end."""
    made: list[Load] = []
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    broker.flushdb()
    with tenant_context(committed_acme):

        def make(**options: Any) -> Load:
            made.append(Load(committed_acme, **options))
            return made[-1]

        yield make
        for load in made:
            load.drop()
            # A failed test must not leave the sweeper work in other tests.
            Run.objects.filter(pk=load.run.pk).exclude(status__in=ENDED_RUN_STATUSES).update(status=RunStatus.CANCELLED)
    broker.flushdb()
    broker.close()


def kill_somewhere(load: Load, folder: Path, *, kills: int, seed: int) -> None:
    """`kill -9` of the worker's process group at random moments of the run, then a worker that may live."""
    chance = random.Random(seed)
    for number in range(kills):
        child = start_load_worker(folder, f"doomed{number}")
        try:
            wait_for(lambda: load.is_reading() or load.ended(), "the first rows")
            time.sleep(chance.uniform(0, 0.8))
        finally:
            child.kill_group()
        if load.ended():
            break
    with running(start_load_worker(folder, "last")):
        load.sweep_until_ended()


@pytest.mark.parametrize("partitions", [1, 3])
def test_killed_workers_leave_a_complete_target(loads: Callable[..., Load], tmp_path: Path, partitions: int) -> None:
    load = loads(partitions=partitions)
    kill_somewhere(load, tmp_path, kills=2, seed=partitions)
    load.check_complete()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("CHAOS_RUNS", "20"))))
def test_many_kills(loads: Callable[..., Load], tmp_path: Path, seed: int) -> None:
    """`make test-chaos`: 0 of n lost bounds the rate below 3/n (95 %)."""
    load = loads(partitions=1 + seed % 4, disposition=("upsert", "replace", "append")[seed % 3])
    kill_somewhere(load, tmp_path, kills=2, seed=seed)
    load.check_complete()


def test_beat_alone_brings_a_killed_run_to_its_end(loads: Callable[..., Load], tmp_path: Path) -> None:
    load = loads()
    doomed = start_load_worker(tmp_path, "doomed")
    wait_for(load.is_reading, "the first rows")
    doomed.kill_group()
    with running(start_load_worker(tmp_path, "second"), start_beat(tmp_path)):
        wait_for(load.ended, "the run's end")
    load.check_complete()


def test_lost_broker_loses_nothing(loads: Callable[..., Load], tmp_path: Path) -> None:
    load = loads(partitions=3)
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    broker.flushdb()  # before anybody heard the first ring
    with running(start_load_worker(tmp_path, "worker")):
        wait_for(lambda: sweep_tenant() or load.is_reading(), "the sweeper's ring", every_s=0.3)
        broker.flushdb()  # and again in the middle
        load.sweep_until_ended()
    broker.close()
    load.check_complete()


def test_sleeping_worker_wakes_up_to_find_itself_fenced_off(loads: Callable[..., Load], tmp_path: Path) -> None:
    load = loads()
    sleeper = start_load_worker(tmp_path, "sleeper", concurrency=1)
    with running(sleeper):
        wait_for(load.is_reading, "the first rows")
        os.killpg(sleeper.process.pid, signal.SIGSTOP)
        try:
            with running(start_load_worker(tmp_path, "second")):
                load.sweep_until_ended()
                load.check_complete()
        finally:
            os.killpg(sleeper.process.pid, signal.SIGCONT)
        wait_for(lambda: "lease_lost" in sleeper.log_tail(200), "the sleeper's insight", timeout_s=30)
    load.check_complete()
    assert RunLog.objects.filter(run=load.run, message__contains="went silent").exists()


def test_doubled_doorbells_change_nothing(loads: Callable[..., Load], tmp_path: Path) -> None:
    load = loads(partitions=2)
    step = StepResult.objects.get(run=load.run, path="load/open")
    for _ in range(6):
        current_app.tasks["engine.execute_step"].delay_for(load.tenant, str(load.run.pk), str(step.pk))
        current_app.tasks["engine.advance"].delay_for(load.tenant, str(load.run.pk))
    with running(start_load_worker(tmp_path, "one"), start_load_worker(tmp_path, "two")):
        load.sweep_until_ended()
    load.check_complete()
    assert set(StepResult.objects.filter(run=load.run).values_list("deliveries", flat=True)) == {1}


def test_step_that_kills_every_worker_is_set_aside_and_can_be_resumed(
    loads: Callable[..., Load], tmp_path: Path
) -> None:
    load = loads()
    for number in range(3):
        child = start_load_worker(tmp_path, f"victim{number}")
        with contextlib.closing(_Killer(child)):
            wait_for(lambda n=number: load.is_delivered(n + 1), f"delivery {number + 1}")
    time.sleep(LIMITS["lease_s"] + 0.5)
    with running(start_load_worker(tmp_path, "survivor")):
        load.sweep_until_ended()
        load.run.refresh_from_db()
        assert (load.run.status, load.run.error["code"]) == (RunStatus.FAILED, "engine.step.poisoned")
        resume_run(load.run.pk, actor=SYSTEM)
        load.sweep_until_ended()
    load.check_complete()


class _Killer:
    """Kills a worker when closed."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def close(self) -> None:
        self._child.kill_group()
