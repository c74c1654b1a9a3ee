"""Timers while the workers' clocks jump, schedules over changes of the clocks: each fires once, never early (D7)."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from apps.engine.choices import ENDED_RUN_STATUSES
from apps.engine.models import Firing, Run, Trigger
from apps.engine.services.triggers.editing import database_now, pause_trigger
from apps.engine.services.triggers.firing import fire_due
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.chaos.conftest import Chaos
from tests.chaos.load import Notes, wait_for
from tests.chaos.nursery import LIMITS, Nursery, nursery_in
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import process, start, step
from tests.engine.trigger_factories import deployed, runs_of, schedule

pytestmark = [pytest.mark.committed]
EARLY_S = 1.0
HOUR, DAY = 3600, 86_400
# Where the clocks change: an hour, half an hour, on the southern side, and nowhere.
ZONES = ("Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Tokyo")


def find_faketime() -> Path | None:
    """The library of Debian's package `libfaketime`, for processes with threads."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


class Clock:
    """The wall clock of the workers."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0)

    def set(self, offset_s: int) -> None:
        """So far from the true time; monotonic clocks stay as they are."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+d}\n")
        fresh.replace(self.file)

    def environment(self, library: Path) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    """The clock of the processes that the nursery forks."""
    return Clock(tmp_path_factory.mktemp("clock") / "faketime")


@pytest.fixture(scope="module")
def nursery(clock: Clock, tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[Nursery]:
    """Workers whose clock can be set."""
    library = find_faketime()
    if library is None:
        pytest.skip("libfaketime is not installed (apt-get install libfaketime): workers have the true time")
    limits = {"ENGINE": json.dumps({**LIMITS, "tenant_processes": 100, "flow_processes": 100})}
    with nursery_in(tmp_path_factory.mktemp("nursery"), **limits, **clock.environment(library)) as grown:
        yield grown


class Timers:
    """Runs with many timers each."""

    def __init__(self, notes: Notes, runs: int, each: int, longest_s: int) -> None:
        self.notes, self.each, self.longest_s = notes, each, longest_s
        loop = {
            "items": "input.items",
            "concurrency": 50,
            "steps": [step("nap", "delay", config={"seconds": f"1 + item % {longest_s}"})],
        }
        definition = process(step("each", "foreach", config=loop))
        self.runs = [start(definition, {"items": list(range(each))}).pk for _ in range(runs)]

    def ended(self) -> bool:
        return Run.objects.filter(pk__in=self.runs, status__in=ENDED_RUN_STATUSES).count() == len(self.runs)

    def tell(self, chaos: Chaos) -> list[float]:
        """What fired; returns how late each was, seconds."""
        parked: dict[Any, datetime] = {}
        # A timer counts from the visit that claims or parks it, whose transaction begins before it is noted.
        for what in ("claim", "parked"):
            for run, path, began in self.notes.of(what, "run", "path", "began", runs=self.runs):
                parked.setdefault((str(run), path), began)
        fired = []
        late = []
        for run, path, at in self.notes.of("outcome", "run", "path", "at", runs=self.runs):
            if not path.endswith("/nap"):
                continue
            fired.append((str(run), path))
            seconds = 1 + int(path.partition("[")[2].partition("]")[0]) % self.longest_s
            late.append((at - parked[str(run), path]).total_seconds() - seconds)
            if late[-1] < -EARLY_S:
                chaos.history.say(f"early by {-late[-1]:.1f} s: {path} of {run}")
        chaos.history.acked(*((str(run), f"each[{item}]/nap") for run in self.runs for item in range(self.each)))
        chaos.history.seen(fired)
        return sorted(late)


def jump(clock: Clock, dice: random.Random, until: Any, *, timeout_s: float) -> int:
    """Set the workers' clock anew, again and again; returns how often."""
    jumps = 0
    deadline = time.monotonic() + timeout_s
    while not until() and time.monotonic() < deadline:
        clock.set(dice.choice([-DAY, -HOUR, -300, 300, HOUR, DAY]) + dice.randrange(60))
        jumps += 1
        time.sleep(dice.uniform(0.2, 0.8))
    clock.set(0)
    return jumps


@pytest.mark.chaos
@pytest.mark.slow
def test_each_timer_fires_once_and_never_early(
    nursery: Nursery, clock: Clock, quiet_broker: None, notes: Notes, chaos: Chaos
) -> None:
    count = chaos.size(20, 1000)
    each = min(100, count)
    timers = Timers(notes, count // each, each, 20)
    nursery.grow("sweeper")
    nursery.worker()
    jumps = jump(clock, chaos.dice, timers.ended, timeout_s=300)
    late = timers.tell(chaos)
    p95, most = late[int(len(late) * 0.95)], late[-1]
    chaos.report(
        timers=count, jumps=jumps, earliest_s=round(late[0], 3), late_p95_s=round(p95, 2), late_max_s=round(most, 2)
    )
    chaos.check()


@pytest.mark.chaos
@pytest.mark.slow
def test_timers_by_the_workers_clock_are_caught(
    nursery: Nursery, clock: Clock, quiet_broker: None, notes: Notes, chaos: Chaos
) -> None:
    timers = Timers(notes, 1, 10, 9)
    nursery.worker(plant="trust the own clock")
    nursery.grow("sweeper")
    wait_for(lambda: len(notes.of("parked", "path", runs=timers.runs)) >= 10, "the timers")
    clock.set(HOUR)
    wait_for(timers.ended, "the timers' end")
    timers.tell(chaos)
    clock.set(0)
    chaos.must_say("early by")


def last_change(zone: ZoneInfo, before: datetime) -> datetime:
    """The day of the last change of a zone's clocks; any day where they never change."""
    for number in range(300):
        day = before - timedelta(days=number)
        if day.astimezone(zone).utcoffset() != (day - timedelta(days=1)).astimezone(zone).utcoffset():
            return day.astimezone(zone)
    return before.astimezone(zone)


def expected_moments(zone: ZoneInfo, days: list[datetime], minutes: tuple[int, int]) -> list[datetime]:
    """02:minute of each day, worked out by walking the real time: the first one; or what comes right after the gap."""
    found = []
    for day in days:
        for minute in minutes:
            at = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
            wanted = (day.year, day.month, day.day, 2, minute)
            while True:
                local = at.astimezone(zone)
                if (local.year, local.month, local.day, local.hour, local.minute) >= wanted:
                    break
                at += timedelta(minutes=1)
            found.append(at)
    return sorted(set(found))


@pytest.mark.parametrize("zone_name", ZONES)
def test_schedules_over_a_change_of_the_clocks_fire_each_moment_once(
    committed_acme: Tenant, chaos: Chaos, zone_name: str
) -> None:
    with tenant_context(committed_acme):
        zone = ZoneInfo(zone_name)
        change = last_change(zone, database_now() - timedelta(days=3))
        days = [change + timedelta(days=number) for number in (-1, 0, 1)]
        same_month = [day for day in days if day.month == change.month]
        trigger = schedule(
            deployed(name=f"clocks {zone_name} {chaos.seed}"),
            cron=f"10,40 2 {','.join(str(day.day) for day in same_month)} {change.month} *",
            zone=zone_name,
            catch_up="all",
            catch_up_limit=20,
        )
        Trigger.objects.filter(pk=trigger.pk).update(next_due_at=(change - timedelta(days=3)).astimezone(UTC))
        barrier = threading.Barrier(3)

        def beat() -> None:
            try:
                with tenant_context(committed_acme):
                    barrier.wait(10)
                    for _ in range(3):
                        fire_due()
            finally:
                connection.close()

        beats = [threading.Thread(target=beat) for _ in range(3)]
        for one in beats:
            one.start()
        for one in beats:
            one.join(60)
        pause_trigger(trigger.pk, actor=SYSTEM)
        fired = Firing.objects.filter(trigger=trigger, status="started").values_list("due_at", flat=True)
        chaos.history.acked(*expected_moments(zone, same_month, (10, 40)))
        chaos.history.seen(fired)
        assert Counter(fired).total() == len(runs_of(trigger))
        runs = Run.objects.filter(flow_id=trigger.flow_id).exclude(status__in=ENDED_RUN_STATUSES)
        runs.update(status="cancelled")
    chaos.check()
