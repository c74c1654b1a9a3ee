"""What the chaos suites share: the long form only on demand, seeds and figures in the report, a nursery.

`make test` plays each suite's short form. `make test-chaos` plays the long ones; `N` replaces their number of faults
and `SEED` repeats one of them. Without a seed the long form draws one; it is printed with the figures at the end.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings

from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.chaos.history import History
from tests.chaos.load import Notes, ProcessLoad, noting
from tests.chaos.nursery import Nursery, nursery_in
from tests.processes import ROOT

KEPT = ROOT / ".run" / "chaos"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long forms are played only when `-m` names them."""
    if "chaos" in str(config.option.markexpr):
        return
    long = [item for item in items if item.get_closest_marker("chaos")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("chaos")]


class Chaos:
    """One experiment: how large it is, its dice, its history and its figures."""

    def __init__(self, name: str, *, long: bool, note: Callable[[str, object], None]) -> None:
        self.name, self.long, self._note = name, long, note
        given = os.environ.get("CHAOS_SEED", "")
        self.seed = int(given) if given else (random.SystemRandom().randrange(10**6) if long else 1)
        self.dice = random.Random(self.seed)
        self.history = History()
        self.began = time.monotonic()

    def size(self, short: int, long: int) -> int:
        """How many faults: `N` of the command line, else the form's own number."""
        return int(os.environ.get("CHAOS_N") or long) if self.long else short

    def report(self, **figures: Any) -> None:
        """Print and keep the seed and the figures."""
        facts = {"seed": self.seed, **self.history.counts(), **figures, "s": round(time.monotonic() - self.began, 1)}
        line = f"{self.name}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
        print(line)
        self._note("chaos", line)
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower())}.json").write_text(json.dumps(facts, default=str))

    def check(self, describe: Callable[[], str] = str) -> None:
        """Nothing is wrong with the history; else it is kept and named with the seed."""
        problems = self.history.problems()
        if not problems:
            return
        kept = KEPT / f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower())}-seed{self.seed}-history.json"
        self.history.save(kept, seed=self.seed)
        shown = "\n".join(problems[:30])
        raise AssertionError(f"seed {self.seed}, {len(problems)} problems, kept in {kept}:\n{shown}\n{describe()}")

    def must_say(self, *words: str) -> None:
        """A planted bug: the history says so."""
        problems = self.history.problems()
        assert any(problem.startswith(words) for problem in problems), (
            f"seed {self.seed}: the bug was missed: {problems}"
        )


@pytest.fixture
def chaos(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Chaos:
    """The experiment of this test."""
    return Chaos(request.node.name, long=bool(request.node.get_closest_marker("chaos")), note=record_property)


@pytest.fixture(scope="module")
def nursery(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[Nursery]:
    """Forks workers with short leases on the test database; a module's `PROCESSES` are further variables for them."""
    with nursery_in(tmp_path_factory.mktemp("nursery"), **getattr(request.module, "PROCESSES", {})) as grown:
        yield grown


@pytest.fixture
def quiet_broker(committed_acme: Tenant, nursery: Nursery) -> Iterator[None]:
    """No message of earlier tests, and none for later ones; nothing that was forked stays; inside acme."""
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        broker.flushdb()
        with tenant_context(committed_acme):
            yield
            nursery.clear()
        broker.flushdb()


@pytest.fixture
def notes(committed_acme: Tenant) -> Iterator[Notes]:
    """The database notes what becomes of acme's steps."""
    with noting(committed_acme) as noted:
        yield noted


@pytest.fixture
def loads(
    quiet_broker: None, committed_acme: Tenant, notes: Notes, chaos: Chaos
) -> Iterator[Callable[..., ProcessLoad]]:
    """Makes loads of runs inside acme."""
    made: list[ProcessLoad] = []

    def make(items: int, **options: Any) -> ProcessLoad:
        made.append(ProcessLoad(committed_acme, notes, chaos.history, items=items, **options))
        return made[-1]

    yield make
    for load in made:
        load.close()
