"""Deadlines of runs: what is due when, marked and announced once, by REST with rights, audit and the second tenant."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from apps.engine.models import Run, RunLog
from apps.engine.services.controlling import cancel_run
from apps.engine.services.executing import work_on_run
from apps.engine.services.runs import StartRequest, start_run
from apps.engine.services.slas import next_local, remove_sla, save_sla, watch_slas
from apps.engine.services.sweeping import sweep_everywhere
from apps.engine.services.triggers.editing import database_now
from apps.engine.services.triggers.firing import fire_due
from apps.events.models import Event
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import process, step
from tests.engine.trigger_factories import deployed, make_overdue, runs_of, schedule

Api = Callable[..., Any]
WAITS = process(step("pay", "wait", config={"event": "never"}))


def started(flow: Any) -> Run:
    run = start_run(StartRequest(flow.pk, "dev", version="draft"), actor=SYSTEM)
    return Run.objects.get(pk=run.pk)


def set_due(run: Run, seconds: float) -> None:
    Run.objects.filter(pk=run.pk).update(sla_due_at=Now() + timedelta(seconds=seconds))


def announced(run: Run) -> list[Event]:
    return list(Event.objects.filter(type__endswith="run.sla_missed.v1", data__run_id=str(run.pk)))


@pytest.mark.parametrize(
    ("origin", "by", "zone", "days", "expected"),
    [
        # Later the same day, and the next one when the time has passed.
        ("2026-11-24T02:00Z", "06:00", "UTC", [1, 2, 3, 4, 5, 6, 7], "2026-11-24T06:00Z"),
        ("2026-11-24T06:00Z", "06:00", "UTC", [1, 2, 3, 4, 5, 6, 7], "2026-11-25T06:00Z"),
        # By the zone's clock, in winter and in summer.
        ("2026-11-24T02:00Z", "06:00", "Europe/Zurich", [2], "2026-11-24T05:00Z"),
        ("2026-07-14T02:00Z", "06:00", "Europe/Zurich", [2], "2026-07-14T04:00Z"),
        # A Friday evening's run is due on Monday.
        ("2026-11-27T22:00Z", "07:30", "UTC", [1, 2, 3, 4, 5], "2026-11-30T07:30Z"),
        # One day a week, and its time has just passed.
        ("2026-11-24T06:01Z", "06:00", "UTC", [2], "2026-12-01T06:00Z"),
        # The clocks leave 02:30 out: the same distance after the gap; the second 02:30 of autumn does not count.
        ("2026-03-29T00:00Z", "02:30", "Europe/Zurich", [7], "2026-03-29T01:30Z"),
        ("2026-10-24T23:00Z", "02:30", "Europe/Zurich", [7], "2026-10-25T00:30Z"),
        # Already Wednesday in Auckland.
        ("2026-11-24T12:00Z", "06:00", "Pacific/Auckland", [3], "2026-11-24T17:00Z"),
    ],
)
def test_the_next_local_time(origin: str, by: str, zone: str, days: list[int], expected: str) -> None:
    found = next_local(datetime.fromisoformat(origin), time.fromisoformat(by), zone, days)
    assert found == datetime.fromisoformat(expected)


def test_a_run_gets_its_deadline_from_when_it_was_asked_for(as_acme: Tenant) -> None:
    flow = make_flow(WAITS)
    save_sla(flow.pk, "dev", within_s=600, actor=SYSTEM)
    run = started(flow)
    assert run.sla_due_at is not None
    assert abs(run.sla_due_at - run.created_at - timedelta(seconds=600)) < timedelta(seconds=5)
    save_sla(flow.pk, "dev", within_s=600, by=time(6), zone="UTC", days=[1, 2, 3, 4, 5, 6, 7], actor=SYSTEM)
    assert started(flow).sla_due_at <= database_now() + timedelta(seconds=600)  # type: ignore[operator]
    remove_sla(flow.pk, "dev", actor=SYSTEM)
    remove_sla(flow.pk, "dev", actor=SYSTEM)
    assert started(flow).sla_due_at is None
    run.refresh_from_db()
    assert run.sla_due_at is not None, "a run that has begun keeps it"


def test_another_environment_expects_nothing(as_acme: Tenant) -> None:
    flow = make_flow(WAITS)
    save_sla(flow.pk, "prod", within_s=600, actor=SYSTEM)
    assert started(flow).sla_due_at is None


def test_a_run_past_its_deadline_is_marked_and_announced_once(as_acme: Tenant) -> None:
    flow = make_flow(WAITS)
    save_sla(flow.pk, "dev", within_s=600, actor=SYSTEM)
    late, punctual = started(flow), started(flow)
    set_due(late, -1)
    assert watch_slas() == 1
    assert watch_slas() == 0
    late.refresh_from_db()
    punctual.refresh_from_db()
    assert late.sla_missed_at is not None
    assert punctual.sla_missed_at is None
    [event] = announced(late)
    assert event.subject == f"run/{late.pk}"
    assert (event.data["flow_id"], event.data["status"]) == (str(flow.pk), late.status)
    assert datetime.fromisoformat(event.data["due_at"]) == late.sla_due_at
    assert RunLog.objects.filter(run=late, message__contains="was to be finished").count() == 1
    assert announced(punctual) == []


def test_time_in_the_queue_counts(as_acme: Tenant, settings: Any) -> None:
    settings.ENGINE = {**settings.ENGINE, "tenant_processes": 0}
    flow = make_flow(WAITS)
    save_sla(flow.pk, "dev", within_s=1, actor=SYSTEM)
    run = started(flow)
    assert (run.status, run.started_at) == ("queued", None)
    set_due(run, -1)
    assert watch_slas() == 1
    assert announced(run)[0].data["status"] == "queued"


def test_a_run_that_ends_late_between_two_rounds_is_marked_by_its_end(as_acme: Tenant) -> None:
    flow = make_flow(process(step("now", "transform", config={"values": {"x": "1"}})))
    save_sla(flow.pk, "dev", within_s=600, actor=SYSTEM)
    late, punctual = started(flow), started(flow)
    set_due(late, -1)
    for run in (late, punctual):
        work_on_run(run.pk)
        run.refresh_from_db()
        assert run.status == "succeeded", run.error
    assert (late.sla_missed_at, punctual.sla_missed_at) == (late.ended_at, None)
    assert len(announced(late)) == 1
    assert watch_slas() == 0


def test_a_run_that_ended_in_time_is_left_alone(as_acme: Tenant) -> None:
    flow = make_flow(WAITS)
    save_sla(flow.pk, "dev", within_s=600, actor=SYSTEM)
    run = started(flow)
    cancel_run(run.pk, actor=SYSTEM)
    work_on_run(run.pk)
    set_due(run, -1)
    assert watch_slas() == 0
    assert announced(run) == []


def test_a_scheduled_run_that_starts_late_is_measured_from_its_moment(as_acme: Tenant) -> None:
    trigger = schedule(deployed(WAITS), catch_up="once")
    save_sla(trigger.flow_id, "dev", within_s=3600, actor=SYSTEM)
    minute = (database_now() + timedelta(minutes=30)).minute
    type(trigger).objects.filter(pk=trigger.pk).update(cron=f"{minute} * * * *")
    make_overdue(trigger, 5)
    fire_due()
    [run] = runs_of(trigger)
    assert run.sla_due_at - timedelta(hours=1) < run.created_at - timedelta(minutes=20), "half an hour is gone"
    assert run.sla_due_at.minute == minute


@pytest.mark.committed
def test_two_sweepers_announce_one_miss(committed_acme: Tenant) -> None:
    with tenant_context(committed_acme):
        flow = make_flow(WAITS)
        save_sla(flow.pk, "dev", within_s=600, actor=SYSTEM)
        runs = [started(flow) for _ in range(3)]
        for run in runs:
            set_due(run, -1)
        barrier = threading.Barrier(3)

        def sweep() -> None:
            with tenant_context(committed_acme):
                barrier.wait(10)
                watch_slas()
            connection.close()

        threads = [threading.Thread(target=sweep) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [len(announced(run)) for run in runs] == [1, 1, 1]
        for run in runs:
            cancel_run(run.pk, actor=SYSTEM)
            work_on_run(run.pk)


def test_the_sweeper_watches_each_tenant(acme: Tenant, globex: Tenant) -> None:
    runs = []
    for tenant in (acme, globex):
        with tenant_context(tenant):
            flow = make_flow(WAITS)
            save_sla(flow.pk, "dev", within_s=600, actor=SYSTEM)
            runs.append(started(flow))
            set_due(runs[-1], -1)
    sweep_everywhere()
    for tenant, run in zip((acme, globex), runs, strict=True):
        with tenant_context(tenant):
            assert Run.objects.get(pk=run.pk).sla_missed_at is not None
            assert len(announced(run)) == 1
            assert not Run.objects.filter(pk=next(one.pk for one in runs if one is not run)).exists()


# -- REST -------------------------------------------------------------------------------------------------------


@pytest.fixture
def flow(acme: Tenant) -> Any:
    with tenant_context(acme):
        return make_flow(WAITS)


def test_a_deadline_is_set_listed_changed_and_removed(acme: Tenant, flow: Any, api_for: Api) -> None:
    api = api_for(acme, roles=("operator",))
    base = f"/api/v2/flows/{flow.pk}/slas"
    made = api.put(f"{base}/dev", {"within_s": 900}, format="json")
    assert made.status_code == 200, made.content
    assert (made.json()["environment"], made.json()["within_s"], made.json()["by"]) == ("dev", 900, None)
    given = {"by": "06:00", "zone": "Europe/Zurich", "days": [5, 1]}
    changed = api.put(f"{base}/dev", given, format="json").json()
    assert (changed["within_s"], changed["by"], changed["days"]) == (None, "06:00:00", [1, 5])
    assert [row["environment"] for row in api.get(base).json()["results"]] == ["dev"]
    assert api.delete(f"{base}/dev").status_code == 204
    assert api.get(base).json()["results"] == []
    actions = [row["action"] for row in api_for(acme).get("/api/v2/audit").json()["results"]]
    assert {"sla.saved", "sla.removed"} <= set(actions)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "within_s"),
        ({"within_s": 0}, "within_s"),
        ({"within_s": 10**8}, "within_s"),
        ({"by": "06:00", "zone": "Mars/Olympus"}, "zone"),
        ({"by": "06:00"}, "zone"),
        ({"by": "06:00", "zone": "UTC", "days": []}, "days"),
        ({"by": "06:00", "zone": "UTC", "days": [0]}, "days"),
        ({"by": "25:00", "zone": "UTC"}, "by"),
    ],
)
def test_what_cannot_be_a_deadline_is_refused_by_field(
    acme: Tenant, flow: Any, api_for: Api, body: dict[str, Any], path: str
) -> None:
    answer = api_for(acme).put(f"/api/v2/flows/{flow.pk}/slas/dev", body, format="json")
    assert answer.status_code == 422, answer.content
    assert path in {problem["path"] for problem in answer.json()["problems"]}


def test_runs_show_and_are_found_by_a_missed_deadline(acme: Tenant, flow: Any, api_for: Api) -> None:
    with tenant_context(acme):
        save_sla(flow.pk, "dev", within_s=600, actor=SYSTEM)
        late, punctual = started(flow), started(flow)
        set_due(late, -1)
        watch_slas()
    api = api_for(acme, roles=("viewer",))
    base = f"/api/v2/runs?flow={flow.pk}"
    [row] = api.get(f"{base}&sla=missed").json()["results"]
    assert row["id"] == str(late.pk)
    assert row["sla_missed_at"] > row["sla_due_at"]
    assert [row["id"] for row in api.get(f"{base}&sla=watched").json()["results"]] == [str(punctual.pk)]
    one = api.get(f"/api/v2/runs/{punctual.pk}").json()
    assert one["sla_due_at"] is not None
    assert one["sla_missed_at"] is None
    assert api.get(f"{base}&sla=sometimes").status_code == 422


def test_setting_a_deadline_needs_the_right_to_deploy(acme: Tenant, flow: Any, api_for: Api) -> None:
    base = f"/api/v2/flows/{flow.pk}/slas"
    viewer = api_for(acme, roles=("viewer",))
    assert viewer.get(base).status_code == 200
    assert viewer.put(f"{base}/dev", {"within_s": 60}, format="json").status_code == 403
    assert viewer.delete(f"{base}/dev").status_code == 403
    assert api_for(acme, permissions=("run:view",)).get(base).status_code == 403


def test_another_tenant_neither_sees_nor_sets_deadlines(acme: Tenant, globex: Tenant, flow: Any, api_for: Api) -> None:
    with tenant_context(acme):
        save_sla(flow.pk, "dev", within_s=600, actor=SYSTEM)
    base, stranger = f"/api/v2/flows/{flow.pk}/slas", api_for(globex)
    assert stranger.get(base).status_code == 404
    assert stranger.put(f"{base}/dev", {"within_s": 60}, format="json").status_code == 404
    assert stranger.delete(f"{base}/dev").status_code == 404
    assert api_for(acme).get(base).json()["results"][0]["within_s"] == 600


def test_the_missed_deadline_is_a_documented_event_type(acme: Tenant, api_for: Api) -> None:
    types = {row["type"]: row for row in api_for(acme).get("/api/v2/event-types?limit=200").json()["results"]}
    [found] = [row for name, row in types.items() if name.endswith("run.sla_missed.v1")]
    assert found["description"]
    assert "due_at" in str(found["schema"])
