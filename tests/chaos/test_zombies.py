"""Workers that are stopped for three leases and go on: what they bring is too late, and nobody waits for it (D4)."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from apps.engine.choices import ENDED_RUN_STATUSES
from apps.engine.models import Run, StepResult
from tests.chaos.conftest import Chaos
from tests.chaos.load import ProcessLoad, wait_for
from tests.chaos.nursery import LIMITS, Grown, Nursery

LEASE_S = LIMITS["lease_s"]
PROCESSES = {"ENGINE": json.dumps({**LIMITS, "lock_idle_s": 3.0})}
pytestmark = [pytest.mark.committed]
LONG = pytest.param("long", marks=[pytest.mark.chaos, pytest.mark.slow])


class Zombie:
    """A worker that is stopped while it has a step."""

    def __init__(self, load: ProcessLoad, worker: Grown) -> None:
        self.load, self.worker = load, worker
        self.step: Any = None

    def held(self) -> Any:
        """The step that one of its processes has."""
        for step in StepResult.objects.filter(run__in=self.load.runs, status="running"):
            try:
                group = os.getpgid(int(step.lease_owner.rpartition(":")[2]))
            except ProcessLookupError:
                continue
            if group == self.worker.pid:
                return step
        return None

    def freeze(self, delay_s: float) -> None:
        """Stop it some time after it has taken a step, while it still has one."""
        while self.step is None:
            wait_for(self.held, f"a step for {self.worker.name}")
            time.sleep(delay_s)
            self.worker.signal(signal.SIGSTOP)
            self.step = self.held()
            if self.step is None:  # it had just let go
                self.worker.signal(signal.SIGCONT)

    def is_replaced(self) -> bool:
        """Whether another worker has had the step since, or the run went on without it."""
        now = StepResult.objects.get(pk=self.step.pk)
        ended = Run.objects.filter(pk=now.run_id, status__in=ENDED_RUN_STATUSES).exists()
        return bool(now.lease_epoch > self.step.lease_epoch and (now.ended_at or ended))

    def is_recorded_twice(self) -> bool:
        """Whether what it did was recorded over what its successor had done."""
        outcomes = self.load.notes.of("outcome", "path", "attempt", runs=[self.step.run_id])
        return outcomes.count((self.step.path, self.step.attempt)) > 1

    def is_refused(self) -> bool:
        """Whether it has noticed that what it did counts for nothing."""
        return any("lease_lost" in line and self.step.path in line for line in self.worker.log().splitlines())


def freeze_and_wake(load: ProcessLoad, nursery: Nursery, chaos: Chaos, count: int, plant: str = "") -> list[Zombie]:
    """So many workers are stopped with a step each; others do the work; then the stopped ones go on."""
    zombies = [Zombie(load, nursery.worker(concurrency=1, plant=plant)) for _ in range(count)]
    for zombie in zombies:
        zombie.freeze(chaos.dice.uniform(0, 0.3))
    stopped = time.monotonic()
    healthy = nursery.worker(concurrency=2)
    wait_for(lambda: all(zombie.is_replaced() for zombie in zombies), "the steps' other workers", timeout_s=120)
    time.sleep(max(0.0, stopped + 3 * LEASE_S - time.monotonic()))
    for zombie in zombies:
        zombie.worker.signal(signal.SIGCONT)
    done = Zombie.is_recorded_twice if plant else Zombie.is_refused
    wait_for(lambda: all(done(zombie) for zombie in zombies), "what becomes of the late writes", every_s=0.1)
    for zombie in zombies:
        zombie.worker.stop()
    healthy.stop()
    return zombies


@pytest.mark.parametrize("form", ["short", LONG])
def test_late_writes_are_refused(loads: Any, nursery: Nursery, chaos: Chaos, form: str) -> None:
    count, at_once = chaos.size(1, 100), 10 if chaos.long else 1
    load = loads(8 if chaos.long else 1, hold_s=0.5)
    nursery.grow("sweeper")
    refused = 0
    while refused < count:
        load.start(at_once)
        refused += len(freeze_and_wake(load, nursery, chaos, min(at_once, count - refused)))
    nursery.worker()
    load.wait()
    load.observe()
    chaos.report(zombies=count, refused=refused, bound=f"< {3 / count:.3f} a zombie (95 %)")
    chaos.check(load.describe)


@pytest.mark.chaos
@pytest.mark.slow
def test_without_fencing_the_suite_says_so(loads: Any, nursery: Nursery, chaos: Chaos) -> None:
    load = loads(2, hold_s=0.5)
    nursery.grow("sweeper")
    load.start(1)
    freeze_and_wake(load, nursery, chaos, 1, plant="skip fencing")
    nursery.worker()
    load.wait(timeout_s=60)
    load.observe()
    chaos.must_say("two outcomes")


def test_worker_that_is_frozen_with_the_runs_lock_holds_nobody_up(loads: Any, nursery: Nursery, chaos: Chaos) -> None:
    load = loads(2)
    load.start(1)
    nursery.grow("sweeper")
    nursery.worker(concurrency=1, plant="freeze in the record")
    first = StepResult.objects.filter(run__in=load.runs, path="each[0]/put", status="running")
    wait_for(first.exists, "the write")
    nursery.worker()
    load.wait(timeout_s=120)
    load.observe()
    chaos.check(load.describe)
