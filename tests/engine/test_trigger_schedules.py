"""Schedules: due on the database's clock, each moment once, catch-up, faults, paused and archived flows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from apps.engine.choices import FiringStatus, TriggerStatus
from apps.engine.models import Firing, Run, Trigger
from apps.engine.services.executing import work_on_run
from apps.engine.services.sweeping import sweep_everywhere
from apps.engine.services.triggers.editing import database_now, pause_trigger, resume_trigger
from apps.engine.services.triggers.firing import fire_due, forget_firings
from apps.integrations.services.calendars import save_calendar
from apps.integrations.services.drafts import archive_flow
from apps.integrations.services.pausing import pause_flow, resume_flow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import process, step, value
from tests.engine.trigger_factories import DEFINITION, deployed, firings_of, make_overdue, runs_of, schedule


def test_a_due_moment_starts_one_run_with_its_input(as_acme: Tenant) -> None:
    flow = deployed(process(value("a", x="input.month"), input=[{"name": "month", "type": "VARCHAR"}]))
    trigger = schedule(
        flow,
        cron="* * * * *",
        parameters={"month": "none"},
        mapping={"month": "strftime(due_local - interval 1 month, '%Y-%m')"},
    )
    assert trigger.next_due_at > database_now()
    assert fire_due() == 0, "nothing is due yet"
    make_overdue(trigger, 1 / 60)
    assert fire_due() >= 1
    fired = runs_of(trigger)
    assert len(fired) in (1, 2), "the minute that passed, and perhaps the one that began"
    run = fired[0]
    assert (run.trigger, run.version_number, run.requested_by_name) == ("schedule", 1, "system: trigger hourly")
    assert len(run.parameters["month"]) == 7
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.status == "succeeded", run.error
    trigger.refresh_from_db()
    assert trigger.last_run_id == fired[-1].pk
    assert trigger.last_error is None
    assert trigger.next_due_at > database_now() >= trigger.last_fired_at
    fire_due()
    assert len(runs_of(trigger)) == len(fired)


@pytest.mark.parametrize(
    ("catch_up", "limit", "runs"),
    [
        # Ten hours were missed. A moment of the last five minutes is punctual and always fires.
        ("skip", 10, 0),
        ("once", 10, 1),
        ("all", 100, 10),
        ("all", 3, 3),
    ],
)
def test_catch_up_after_downtime(as_acme: Tenant, catch_up: str, limit: int, runs: int) -> None:
    # A minute that lies half an hour away: nothing punctual comes in between, whenever this runs.
    minute = (database_now() + timedelta(minutes=30)).minute
    trigger = schedule(cron=f"{minute} * * * *", zone="UTC", catch_up=catch_up, catch_up_limit=limit)
    make_overdue(trigger, 10)
    fire_due()
    assert len(runs_of(trigger)) == runs
    found = firings_of(trigger)
    assert [status for status, _ in found].count("started") == runs
    assert sum(missed for _, missed in found) == 10 - runs
    moments = list(Firing.objects.filter(trigger=trigger, status="started").values_list("due_at", flat=True))
    assert all(moment.minute == minute for moment in moments)
    if runs:
        assert max(moments) > database_now() - timedelta(hours=1), "the newest are made up for"
    fire_due()
    assert len(runs_of(trigger)) == runs


def test_a_year_of_minutes_is_soon_over(as_acme: Tenant) -> None:
    trigger = schedule(cron="* * * * *", catch_up="once")
    make_overdue(trigger, 24 * 365)
    fire_due()
    assert 1 <= len(runs_of(trigger)) <= 6
    assert max(missed for _, missed in firings_of(trigger)) >= 990


def test_a_moment_fires_once_even_when_the_row_was_set_back(as_acme: Tenant) -> None:
    minute = (database_now() + timedelta(minutes=30)).minute
    trigger = schedule(cron=f"{minute} * * * *", catch_up="once")
    for _ in range(2):
        make_overdue(trigger, 3)
        fire_due()
    assert len(runs_of(trigger)) == 1


@pytest.mark.committed
def test_two_beats_at_once_start_one_run(committed_acme: Tenant, unique: Callable[[str], str]) -> None:
    with tenant_context(committed_acme):
        minute = (database_now() + timedelta(minutes=30)).minute
        triggers = [
            schedule(deployed(name=unique("beats")), cron=f"{minute} * * * *", catch_up="once") for _ in range(3)
        ]
        for trigger in triggers:
            make_overdue(trigger, 2)
        barrier = threading.Barrier(4)

        def beat() -> None:
            with tenant_context(committed_acme):
                barrier.wait(10)
                fire_due()
            connection.close()

        threads = [threading.Thread(target=beat) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        try:
            assert [len(runs_of(trigger)) for trigger in triggers] == [1, 1, 1]
        finally:
            for trigger in triggers:
                pause_trigger(trigger.pk, actor=SYSTEM)


def test_the_sweeper_fires_in_each_tenant(acme: Tenant, globex: Tenant) -> None:
    rows = []
    for tenant in (acme, globex):
        with tenant_context(tenant):
            rows.append(schedule())
            make_overdue(rows[-1], 2)
    sweep_everywhere()
    for tenant, row in zip((acme, globex), rows, strict=True):
        with tenant_context(tenant):
            assert [run.flow_id for run in runs_of(row)] == [row.flow_id]
    with tenant_context(globex):
        assert not Trigger.objects.filter(pk=rows[0].pk).exists()


def test_a_paused_trigger_neither_fires_nor_catches_up(as_acme: Tenant) -> None:
    trigger = schedule(catch_up="all")
    pause_trigger(trigger.pk, actor=SYSTEM, reason="audit")
    Trigger.objects.filter(pk=trigger.pk).update(next_due_at=Now() - timedelta(hours=5))
    fire_due()
    resumed = resume_trigger(trigger.pk, actor=SYSTEM)
    assert resumed.next_due_at is not None
    assert resumed.next_due_at > database_now()
    fire_due()
    assert runs_of(trigger) == []


def test_a_paused_flow_leaves_its_moments_out(as_acme: Tenant) -> None:
    trigger = schedule()
    pause_flow(trigger.flow_id, actor=SYSTEM, reason="month end")
    make_overdue(trigger, 2)
    fire_due()
    assert runs_of(trigger) == []
    trigger.refresh_from_db()
    assert trigger.status == TriggerStatus.ACTIVE
    assert trigger.last_error["code"] == "integrations.flow_paused"
    assert FiringStatus.SKIPPED in [status for status, _ in firings_of(trigger)]
    resume_flow(trigger.flow_id, actor=SYSTEM)
    fire_due()
    assert runs_of(trigger) == [], "what was left out stays so"


def test_an_archived_flow_pauses_its_trigger(as_acme: Tenant) -> None:
    trigger = schedule()
    archive_flow(trigger.flow_id, actor=SYSTEM)
    make_overdue(trigger, 2)
    fire_due()
    trigger.refresh_from_db()
    assert (trigger.status, trigger.next_due_at) == (TriggerStatus.PAUSED, None)
    assert trigger.last_error["code"] == "integrations.flow_archived"
    assert runs_of(trigger) == []


def test_a_flow_that_is_not_deployed_is_an_error_that_shows(as_acme: Tenant) -> None:
    trigger = schedule(make_flow(DEFINITION))
    make_overdue(trigger, 2)
    fire_due()
    trigger.refresh_from_db()
    assert trigger.last_error["code"] == "integrations.not_deployed"
    assert trigger.next_due_at > database_now()


def test_a_mapping_without_a_value_is_an_error_that_shows(as_acme: Tenant) -> None:
    trigger = schedule(mapping={"day": "cast(strftime(due_at, 'x%d') as integer)"})
    make_overdue(trigger, 2)
    fire_due()
    trigger.refresh_from_db()
    assert trigger.last_error["code"].startswith("expressions.")
    assert runs_of(trigger) == []


def test_a_full_queue_delays_a_firing(as_acme: Tenant, settings: Any) -> None:
    settings.ENGINE = {**settings.ENGINE, "tenant_queue": 0}
    trigger = schedule()
    make_overdue(trigger, 2)
    fire_due()
    firing = Firing.objects.get(trigger=trigger, status=FiringStatus.PENDING)
    assert firing.error["code"] == "engine.run.queue_full"
    settings.ENGINE = {}
    assert fire_due() == 0, "five seconds have not passed"
    Firing.objects.filter(pk=firing.pk).update(next_attempt_at=Now())
    fire_due()
    firing.refresh_from_db()
    assert (firing.status, firing.attempts) == (FiringStatus.STARTED, 2)
    assert firing.run_id == runs_of(trigger)[0].pk


def test_a_firing_that_waits_for_a_day_is_given_up(as_acme: Tenant, settings: Any) -> None:
    settings.ENGINE = {**settings.ENGINE, "tenant_queue": 0}
    trigger = schedule()
    make_overdue(trigger, 2)
    fire_due()
    firing = Firing.objects.filter(trigger=trigger, status=FiringStatus.PENDING)
    firing.update(next_attempt_at=Now(), created_at=Now() - timedelta(hours=25))
    fire_due()
    trigger.refresh_from_db()
    assert trigger.last_error["code"] == "engine.trigger.given_up"
    assert not firing.exists()


def test_a_calendar_that_never_works_is_refused_and_holidays_are_left_out(as_acme: Tenant) -> None:
    today = database_now().astimezone(UTC).date()
    days = [date.fromordinal(today.toordinal() + offset) for offset in (-1, 0, 1)]
    save_calendar("triggers-off", name="Off", zone="UTC", rest_days=[], holidays=days, actor=SYSTEM)
    trigger = schedule(calendar="triggers-off", zone="UTC")
    assert trigger.next_due_at.date() == date.fromordinal(today.toordinal() + 2)


def test_old_firings_are_forgotten_but_not_those_that_wait(as_acme: Tenant) -> None:
    trigger = schedule()
    for status, days in (("started", 91), ("started", 1), ("pending", 91)):
        firing = Firing.objects.create(trigger=trigger, due_at=database_now() - timedelta(days=days), status=status)
        Firing.objects.filter(pk=firing.pk).update(
            created_at=Now() - timedelta(days=days), due_at=Now() - timedelta(days=days, seconds=len(status))
        )
    forget_firings()
    assert sorted(status for status, _ in firings_of(trigger)) == ["pending", "started"]


def test_runs_of_one_schedule_may_overlap_when_the_flow_is_a_process(as_acme: Tenant) -> None:
    trigger = schedule(
        deployed(process(step("sleep", "delay", config={"seconds": "3600"}))), catch_up="all", catch_up_limit=2
    )
    make_overdue(trigger, 6)
    fire_due()
    assert Run.objects.filter(flow_id=trigger.flow_id).count() == 2
