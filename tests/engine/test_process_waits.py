"""Durable waits: moments of the database's clock, working days, events."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.core.ids import uuid7
from apps.engine.choices import RunStatus
from apps.engine.models import Run, StepResult, Waiter
from apps.engine.receivers import WakeWaiters
from apps.engine.services.controlling import cancel_run
from apps.engine.services.sweeping import sweep_tenant
from apps.events.models import Event
from apps.events.selectors import to_record
from apps.events.services.event_contracts import create_contract, publish_custom_event
from apps.events.services.outbox import publish_event
from apps.integrations.exceptions import CalendarInvalid
from apps.integrations.services.calendars import add_workdays, save_calendar
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import require_tenant, tenant_context
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import outputs, process, run, statuses, step, value, work

PAID = "com.acme.invoice.paid.v1"
PAID_SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}

pytestmark = pytest.mark.usefixtures("as_acme")


def make_due(started: Run) -> None:
    StepResult.objects.filter(run=started, status="parked").update(due_at=Now() - timedelta(seconds=1))


def publish(name: str, correlation: str | None = None, **data: Any) -> Any:
    run_id = "0190a5a0-0000-7000-8000-000000000000"
    payload = {"name": name, "correlation": correlation, "data": data, "run_id": run_id, "flow_id": run_id, "path": "x"}
    event = Event.objects.get(pk=publish_event("process.message.v1", subject="run/x", data=payload))
    return to_record(event)


def deliver(event: Any) -> None:
    WakeWaiters().handle(require_tenant(), event)  # type: ignore[arg-type]


def test_delay_holds_no_worker_and_no_slot() -> None:
    started = run(process(step("sleep", "delay", config={"seconds": "input.s"}), value("after")), {"s": 3600})
    assert started.status == RunStatus.WAITING
    assert statuses(started) == {"sleep": "parked"}
    parked = StepResult.objects.get(run=started)
    assert parked.lease_expires_at is None
    assert started.wake_at == parked.due_at
    assert work(started).status == RunStatus.WAITING, "nothing happens before its time"
    make_due(started)
    assert work(started).status == RunStatus.SUCCEEDED
    assert "after" in statuses(started)


def test_waiting_runs_leave_their_slots_to_others() -> None:
    definition = process(step("sleep", "delay", config={"seconds": "60"}), limits={"concurrency": 1})
    from apps.engine.services.runs import StartRequest, start_run
    from tests.engine.factories import make_flow

    flow = make_flow(definition)
    first, second = (start_run(StartRequest(flow.pk, "dev", version="draft"), actor=SYSTEM) for _ in range(2))
    assert Run.objects.get(pk=second.pk).status == RunStatus.QUEUED
    assert work(first).status == RunStatus.WAITING
    assert work(second).status == RunStatus.WAITING


def test_sweeper_rings_for_a_due_timer() -> None:
    started = run(process(step("sleep", "delay", config={"seconds": "3600"})))
    Run.objects.exclude(pk=started.pk).update(wake_at=Now() + timedelta(hours=1))
    assert sweep_tenant() == 0
    Run.objects.filter(pk=started.pk).update(wake_at=Now() - timedelta(seconds=1))
    assert sweep_tenant() == 1


def test_until_a_moment_that_has_passed_goes_on() -> None:
    config = {"at": "timestamptz '2020-01-01 00:00:00+00'"}
    done = run(process(step("then", "until", config=config)))
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert outputs(done)["then"] == {"until": "2020-01-01T00:00:00Z"}
    later = run(process(step("then", "until", config={"at": "input.at"})), {"at": "2032-01-01T12:00:00+01:00"})
    assert later.status == RunStatus.WAITING
    assert StepResult.objects.get(run=later).due_at == datetime(2032, 1, 1, 11, tzinfo=UTC)
    wrong = run(process(step("then", "until", config={"at": "'soon'"})))
    assert wrong.error["code"] == "engine.process.moment_invalid"


@pytest.mark.parametrize(
    ("moment", "days", "expected"),
    [
        # Friday noon in Zurich; Monday 2026-04-06 is Easter Monday.
        (datetime(2026, 4, 3, 10, tzinfo=UTC), 1, datetime(2026, 4, 7, 7, tzinfo=UTC)),
        (datetime(2026, 4, 1, 5, tzinfo=UTC), 0, datetime(2026, 4, 1, 7, tzinfo=UTC)),
        (datetime(2026, 4, 1, 8, tzinfo=UTC), 0, datetime(2026, 4, 2, 7, tzinfo=UTC)),
        # The clocks change on 2026-03-29 and 2026-10-25.
        (datetime(2026, 3, 27, 12, tzinfo=UTC), 1, datetime(2026, 3, 30, 7, tzinfo=UTC)),
        (datetime(2026, 10, 23, 12, tzinfo=UTC), 1, datetime(2026, 10, 26, 8, tzinfo=UTC)),
    ],
)
def test_working_days_know_zone_and_holidays(moment: datetime, days: int, expected: datetime) -> None:
    calendar = save_calendar(
        "zurich",
        name="Zurich",
        zone="Europe/Zurich",
        rest_days=[6, 7],
        holidays=[date(2026, 4, 3), date(2026, 4, 6)],
        actor=SYSTEM,
    )
    assert add_workdays(calendar, moment, days, time(9)) == expected


def test_process_waits_for_a_working_day() -> None:
    save_calendar("office", name="Office", zone="Europe/Zurich", rest_days=[6, 7], holidays=[], actor=SYSTEM)
    started = run(process(step("open", "workday", config={"calendar": "office", "days": "2", "at": "09:00"})))
    assert started.status == RunStatus.WAITING, started.error
    due = StepResult.objects.get(run=started).due_at
    assert timedelta(days=1) < due - started.created_at < timedelta(days=6)


def test_calendar_without_working_days_is_refused() -> None:
    with pytest.raises(CalendarInvalid):
        save_calendar("none", name="None", zone="UTC", rest_days=range(1, 8), holidays=[], actor=SYSTEM)
    with pytest.raises(CalendarInvalid):
        save_calendar("none", name="None", zone="Mars/Base", rest_days=[7], holidays=[], actor=SYSTEM)


def waiting(**config: Any) -> Any:
    config = {"event": "paid", "correlation": "input.invoice", **config}
    return step("pay", "wait", config=config)


def test_event_with_the_right_correlation_wakes_the_run() -> None:
    started = run(process(waiting(), output={"sum": "steps.pay.output.event.data.total"}), {"invoice": 7})
    assert started.status == RunStatus.WAITING
    deliver(publish("paid", "8", total=1))
    deliver(publish("refused", "7", total=2))
    assert work(started).status == RunStatus.WAITING
    event = publish("paid", "7", total=3)
    deliver(event)
    deliver(event)
    assert work(started).status == RunStatus.SUCCEEDED
    assert started.result == {"sum": 3}
    assert not Waiter.objects.filter(run=started).exists()


def test_events_of_one_visit_wake_each_run_with_its_own(django_assert_num_queries: Any) -> None:
    definition = process(waiting(), output={"sum": "steps.pay.output.event.data.total"})
    seven, eight = (run(definition, {"invoice": invoice}) for invoice in (7, 8))
    events = [("other", "7", 0), ("paid", "8", 1), ("paid", "7", 2), ("paid", "8", 3)]
    batch = [publish(name, correlation, total=total) for name, correlation, total in events]
    tenant: Any = require_tenant()
    WakeWaiters().handle_batch(tenant, batch)
    assert [work(started).result for started in (seven, eight)] == [{"sum": 2}, {"sum": 1}]
    with django_assert_num_queries(1):
        WakeWaiters().handle_batch(tenant, batch)


def test_event_that_was_delivered_too_early_is_found_in_the_log() -> None:
    started = run(process(waiting()), {"invoice": 9})
    publish("paid", "9")  # its delivery did not see the waiter yet
    assert work(started).status == RunStatus.SUCCEEDED


def test_timeout_fails_or_goes_another_way() -> None:
    hard = run(process(waiting(timeout_s="60")), {"invoice": 1})
    make_due(hard)
    assert work(hard).status == RunStatus.FAILED
    assert hard.error["code"] == "engine.process.wait_timed_out"
    soft = run(
        process(waiting(timeout_s="60", on_timeout="continue"), output={"late": "steps.pay.output.timed_out"}),
        {"invoice": 1},
    )
    make_due(soft)
    assert work(soft).status == RunStatus.SUCCEEDED
    assert soft.result == {"late": True}
    routed = step(
        "pay", "wait", config={"event": "paid", "timeout_s": "60"}, on_error="route", error_steps=[value("remind")]
    )
    late = run(process(routed))
    make_due(late)
    assert work(late).status == RunStatus.SUCCEEDED
    assert "pay:error/remind" in statuses(late)


def test_first_of_event_and_timer_wins_inside_a_loop() -> None:
    race = step(
        "race",
        "parallel",
        config={
            "join": "any",
            "branches": [
                {"name": "event", "steps": [waiting(correlation="item")]},
                {"name": "timer", "steps": [step("sleep", "delay", config={"seconds": "60"})]},
            ],
        },
    )
    started = run(process(step("loop", "foreach", config={"items": "['a', 'b']", "steps": [race]})))
    deliver(publish("paid", "a"))
    work(started)
    found = statuses(started)
    assert found["loop[0]/race:event/pay"] == "succeeded"
    assert found["loop[0]/race:timer/sleep"] == "cancelled"
    make_due(started)
    assert work(started).status == RunStatus.SUCCEEDED
    assert statuses(started)["loop[1]/race:event/pay"] == "cancelled"
    assert not Waiter.objects.exists()


def test_cancelled_run_waits_for_nothing() -> None:
    started = run(process(waiting()), {"invoice": 1})
    cancel_run(started.pk, actor=SYSTEM)
    started.refresh_from_db()
    assert started.status == RunStatus.CANCELLED
    assert not Waiter.objects.filter(run=started).exists()


def announce(correlation: str, **data: Any) -> Any:
    """An event of a type that the tenant defined."""
    done = publish_custom_event(
        PAID, subject="payment/1", data=data, client_id=str(uuid7()), key=correlation, actor=SYSTEM
    )
    return to_record(Event.objects.get(pk=done.event_id))


def test_event_of_the_tenants_own_type_wakes_the_run() -> None:
    create_contract(PAID, schema=PAID_SCHEMA, actor=SYSTEM)
    definition = process(waiting(event=PAID), output={"got": "steps.pay.output.event"})
    started = run(definition, {"invoice": 7})
    deliver(announce("8", total=1))
    assert work(started).status == RunStatus.WAITING
    event = announce("7", total=3)
    deliver(event)
    assert work(started).status == RunStatus.SUCCEEDED
    assert (started.result["got"]["name"], started.result["got"]["data"]) == (PAID, {"total": 3})


def test_event_of_the_tenants_own_type_is_found_in_the_log() -> None:
    create_contract(PAID, schema=PAID_SCHEMA, actor=SYSTEM)
    started = run(process(waiting(event=PAID)), {"invoice": 9})
    announce("8", total=1)
    assert work(started).status == RunStatus.WAITING
    announce("9", total=1)  # its delivery did not see the waiter yet
    assert work(started).status == RunStatus.SUCCEEDED


def test_process_publishes_an_event_of_the_tenants_own_type() -> None:
    create_contract(PAID, schema=PAID_SCHEMA, actor=SYSTEM)
    config = {"event": PAID, "correlation": "input.invoice", "data": {"total": "input.total"}}
    receiver = run(process(waiting(event=PAID)), {"invoice": 4})
    done = run(process(step("tell", "publish", config=config)), {"invoice": 4, "total": 12})
    assert done.status == RunStatus.SUCCEEDED, done.error
    event = Event.objects.get(type=PAID)
    assert (event.subject, event.key, event.data) == (f"run/{done.pk}", "4", {"total": 12})
    deliver(to_record(event))
    assert work(receiver).status == RunStatus.SUCCEEDED


def test_event_that_does_not_fit_its_type_fails_the_step_and_is_not_published() -> None:
    create_contract(PAID, schema=PAID_SCHEMA, actor=SYSTEM)
    tell = step("tell", "publish", config={"event": PAID, "data": {"total": "'much'"}})
    failed = run(process(value("before"), tell))
    assert failed.status == RunStatus.FAILED
    assert (failed.error["code"], failed.error["step"]) == ("events.invalid", "tell")
    assert statuses(failed) == {"before": "succeeded", "tell": "failed"}
    assert not Event.objects.filter(type=PAID).exists()


def test_type_of_another_tenant_is_only_a_name(globex: Tenant) -> None:
    with tenant_context(globex):
        create_contract(PAID, schema=PAID_SCHEMA, actor=SYSTEM)
    done = run(process(step("tell", "publish", config={"event": PAID, "data": {"total": "'much'"}})))
    assert done.status == RunStatus.SUCCEEDED, done.error
    (event,) = Event.objects.filter(type__endswith="process.message.v1")
    assert event.data["name"] == PAID


def test_event_of_another_tenant_wakes_nobody(globex: Tenant) -> None:
    started = run(process(waiting()), {"invoice": 5})
    with tenant_context(globex):
        deliver(publish("paid", "5"))
    assert work(started).status == RunStatus.WAITING


def test_calendars_over_http(api_for: Any, acme: Tenant, globex: Tenant) -> None:
    body = {"name": "Zurich", "zone": "Europe/Zurich", "holidays": ["2026-08-01"]}
    api = api_for(acme)
    assert api.put("/api/v2/calendars/zurich-http", body, format="json").status_code == 200
    assert api.get("/api/v2/calendars/zurich-http").json()["rest_days"] == [6, 7]
    assert api_for(globex).get("/api/v2/calendars/zurich-http").status_code == 404
    assert api_for(acme, roles=("viewer",)).put("/api/v2/calendars/other", body, format="json").status_code == 403
    wrong = api.put("/api/v2/calendars/wrong", {**body, "zone": "Nowhere"}, format="json")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "integrations.calendar_invalid")
