"""Steps that take their workers' processes with them are set aside after three deliveries; the others go on (D6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.engine.choices import ENDED_RUN_STATUSES
from apps.engine.models import Run, StepResult
from tests.chaos.conftest import Chaos
from tests.chaos.load import wait_for
from tests.chaos.nursery import LIMITS, Nursery
from tests.engine.process_factories import process, start, step, value

PROCESSES = {"ENGINE": json.dumps({**LIMITS, "max_deliveries": 3})}
pytestmark = [pytest.mark.committed]


def poison() -> Any:
    """A step that the worker does not survive, between two good ones."""
    config = {"connection": "warehouse", "text": "SELECT 1 AS one"}
    return process(
        value("before", x="1"), step("deadly", "query", config=config, notes="deadly"), value("after", x="2")
    )


@pytest.mark.parametrize(
    "how",
    [
        "killed",
        pytest.param("exit", marks=[pytest.mark.chaos, pytest.mark.slow]),
        pytest.param("segfault", marks=[pytest.mark.chaos, pytest.mark.slow]),
    ],
)
def test_poison_is_set_aside_and_good_steps_go_on(loads: Any, nursery: Nursery, chaos: Chaos, how: str) -> None:
    load = loads(50 if chaos.long else 4)
    poisoned = start(poison())
    load.start(5 if chaos.long else 2)
    nursery.grow("sweeper")
    nursery.worker(plant=how)
    ended = Run.objects.filter(pk=poisoned.pk, status__in=ENDED_RUN_STATUSES)
    wait_for(ended.exists, "the end of the poisoned run", timeout_s=120)
    load.wait()
    load.observe()
    poisoned.refresh_from_db()
    guilty = StepResult.objects.get(run=poisoned, path="deadly")
    chaos.report(how=how, deliveries=guilty.deliveries, good_runs=len(load.runs))
    assert (poisoned.status, poisoned.error["code"]) == ("failed", "engine.step.poisoned")
    assert (guilty.deliveries, guilty.status) == (3, "failed")
    chaos.check(load.describe)
