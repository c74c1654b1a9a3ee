"""`kill -9` of workers at random points of a load of runs: nothing lost, doubled or stuck, one outcome a step (D1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from apps.engine.models import StepResult
from tests.chaos.conftest import Chaos
from tests.chaos.load import ProcessLoad, database_now, wait_for
from tests.chaos.nursery import Grown, Nursery

pytestmark = [pytest.mark.committed]
LONG = pytest.param("long", marks=[pytest.mark.chaos, pytest.mark.slow])


class Deaths:
    """When workers were killed, and what they had in hand."""

    def __init__(self, load: ProcessLoad) -> None:
        self.load = load
        self.in_hand: list[tuple[datetime, tuple[UUID, str, int, int]]] = []
        self.kills = 0

    def kill(self, *workers: Grown) -> None:
        """All of them at once."""
        for worker in workers:
            worker.kill()
        at = database_now()
        self.kills += 1
        self.in_hand += [(at, step) for step in self.load.in_flight()]

    def resumes_s(self) -> list[float]:
        """For each step that a killed worker had: seconds until somebody else had it."""
        claims: dict[tuple[UUID, str, int], list[tuple[datetime, int]]] = {}
        for at, run_id, path, attempt, epoch in self.load.notes.of("claim", "at", "run", "path", "attempt", "epoch"):
            claims.setdefault((run_id, path, attempt), []).append((at, epoch))
        found = []
        for at, (run_id, path, attempt, epoch) in self.in_hand:
            later = [moment for moment, number in claims.get((run_id, path, attempt), ()) if number > epoch]
            if later:
                found.append((min(later) - at).total_seconds())
        return sorted(found)


def figures_of(seconds: Sequence[float]) -> dict[str, Any]:
    """p50, p95 and the longest."""
    if not seconds:
        return {"resumed_steps": 0}
    ordered = sorted(seconds)
    at = {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in (("p50", 0.5), ("p95", 0.95))
    }
    return {"resumed_steps": len(ordered), **{f"resume_{name}_s": round(s, 2) for name, s in at.items()},
            "resume_max_s": round(ordered[-1], 2)}  # fmt: skip


@pytest.mark.parametrize("form", ["short", LONG])
def test_killed_workers_lose_and_double_nothing(loads: Any, nursery: Nursery, chaos: Chaos, form: str) -> None:
    kills = chaos.size(3, 200)
    load = loads(100 if chaos.long else 4)
    load.start(25 if chaos.long else 3)
    deaths = Deaths(load)
    nursery.grow("sweeper")
    while deaths.kills < kills:
        if load.left() < (4 if chaos.long else 1):
            load.start(4 if chaos.long else 1)
        before = load.notes.count()
        worker = nursery.worker()
        wait_for(lambda n=before: load.notes.count() > n, "some progress")
        time.sleep(chaos.dice.uniform(0, 0.6 if chaos.long else 0.3))
        deaths.kill(worker)
    nursery.worker()
    load.wait()
    load.observe()
    chaos.report(kills=kills, runs=len(load.runs), **figures_of(deaths.resumes_s()))
    chaos.check(load.describe)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        ("die after the write", ""),
        ("die after the write + forget the key", "doubled ('row'"),
        pytest.param("record first", "lost ('row'", marks=[pytest.mark.chaos, pytest.mark.slow]),
    ],
    ids=["no-bug", "forgotten-key", "recorded-first"],
)
def test_planted_bug_is_caught(loads: Any, nursery: Nursery, chaos: Chaos, plant: str, said: str) -> None:
    load = loads(2)
    load.start(2)
    nursery.grow("sweeper")
    nursery.worker(plant=plant)
    load.wait(timeout_s=60)
    load.observe()
    if said:
        chaos.must_say(said)
    else:
        chaos.check(load.describe)
        again = StepResult.objects.filter(run__in=load.runs, path="each[0]/put", deliveries=2)
        assert again.count() == 2, "the worker died of each run's first write, once"
