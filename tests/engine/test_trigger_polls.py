"""Polls: new rows of a real system start runs or become events, once each, whoever looks and whatever fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from django.db.models.functions import Now

from apps.access.contracts import Actor
from apps.core.exceptions import PermissionDenied
from apps.engine.models import Firing, PollState, Run, Trigger
from apps.engine.services.executing import work_on_run
from apps.engine.services.sweeping import sweep_everywhere
from apps.engine.services.triggers import looking, positions
from apps.engine.services.triggers.editing import create_trigger, pause_trigger, resume_trigger, update_trigger
from apps.engine.services.triggers.polling import poll_trigger, ring_due_polls
from apps.engine.services.triggers.positions import Position
from apps.events.models import Event
from apps.events.services.event_contracts import create_contract
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.flows import publish_flow
from apps.integrations.services.pausing import pause_flow, resume_flow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import process, value
from tests.engine.systems import (
    add_invoices,
    drop_table,
    execute,
    make_database_connection,
    make_source_table,
    unique_name,
)
from tests.engine.trigger_factories import deployed, firings_of, runs_of
from tests.processes import database_url

pytestmark = pytest.mark.committed
Api = Callable[..., Any]
TAKES_ROWS = process(
    value("a", n="json_array_length(input.rows)"),
    input=[{"name": "rows", "type": "JSON"}],
    output={"n": "steps.a.output.n"},
)


TAKES_ROWS_AND_COUNT = process(
    value("a", n="input.n"), input=[{"name": "rows", "type": "JSON"}, {"name": "n", "type": "BIGINT"}]
)


@pytest.fixture
def invoices(committed_acme: Tenant) -> Iterator[Any]:
    """Slug of a connection to PostgreSQL, and a table of five invoices there, inside acme."""
    table = make_source_table(5)
    with tenant_context(committed_acme):
        yield make_database_connection().slug, table
        Trigger.objects.filter(kind="poll").delete()
    drop_table(table)


def poll_of(invoices: Any, flow: Any = None, **changes: Any) -> Trigger:
    """A poll of the table by its id, as a person would make it."""
    slug, table = invoices
    flow = flow or deployed(TAKES_ROWS, name=unique_name("polled"))
    poll = {"connection": slug, "entity": f"public.{table}", "cursor": "id", **changes.pop("poll", {})}
    settings = {"name": "new invoices", "every_s": 10, "poll": poll, **changes}
    return create_trigger(flow.pk, "dev", kind="poll", actor=SYSTEM, **settings)


def look_at(trigger: Trigger) -> int:
    """One look now."""
    Trigger.objects.filter(pk=trigger.pk).update(next_due_at=Now())
    return poll_trigger(trigger.pk)


def ids_of(trigger: Trigger) -> list[list[int]]:
    """Ids of the rows of each run, oldest run first."""
    return [[row["id"] for row in run.parameters["rows"]] for run in runs_of(trigger)]


def test_new_rows_start_a_run_with_the_rows(invoices: Any) -> None:
    trigger = poll_of(invoices)
    assert look_at(trigger) == 0, "the first look remembers what is there"
    assert look_at(trigger) == 0
    add_invoices(invoices[1], 6, 7)
    assert look_at(trigger) == 1
    assert look_at(trigger) == 0
    [run] = runs_of(trigger)
    assert run.trigger == "poll"
    assert [(row["id"], row["total"]) for row in run.parameters["rows"]] == [(6, 0.06), (7, 0.07)]
    work_on_run(run.pk)
    run.refresh_from_db()
    assert (run.status, run.result) == ("succeeded", {"n": 2}), run.error
    [firing] = Firing.objects.filter(trigger=trigger)
    assert (firing.status, firing.rows, firing.run_id, firing.parameters) == ("started", 2, run.pk, {})
    assert firing.dedupe_key.endswith(":0")
    trigger.refresh_from_db()
    assert (trigger.last_run_id, trigger.last_error) == (run.pk, None)
    assert trigger.poll_state.failures == 0
    assert trigger.next_due_at is not None


def test_more_rows_than_a_batch_are_several_runs_in_order(invoices: Any) -> None:
    trigger = poll_of(invoices, poll={"start": "0", "batch_rows": 2})
    assert look_at(trigger) == 3
    assert ids_of(trigger) == [[1, 2], [3, 4], [5]]
    assert [key.split(":")[1] for key in Firing.objects.filter(trigger=trigger).order_by("id").values_list(
        "dedupe_key", flat=True)] == ["0", "1", "2"]  # fmt: skip
    assert look_at(trigger) == 0


def test_an_old_row_that_is_changed_is_not_new(invoices: Any) -> None:
    trigger = poll_of(invoices)
    look_at(trigger)
    add_invoices(invoices[1], 6, 6)
    look_at(trigger)
    execute(f"UPDATE public.{invoices[1]} SET total = total + 1 WHERE id IN (2, 6)")
    assert look_at(trigger) == 0
    assert ids_of(trigger) == [[6]]


def test_a_row_that_commits_late_is_not_missed(invoices: Any) -> None:
    trigger = poll_of(invoices)
    look_at(trigger)
    with psycopg.connect(database_url()) as slow:
        slow.execute(f"INSERT INTO public.{invoices[1]} (id, number) VALUES (6, 'late')")
        add_invoices(invoices[1], 7, 7)
        look_at(trigger)
        slow.commit()
    look_at(trigger)
    look_at(trigger)
    assert sorted(ids_of(trigger)) == [[6], [7]]


def test_rows_follow_a_time_that_rises_with_changes(invoices: Any) -> None:
    trigger = poll_of(invoices, poll={"cursor": "updated_at"})
    look_at(trigger)
    execute(f"UPDATE public.{invoices[1]} SET updated_at = timestamp '2026-02-01' WHERE id = 2")
    assert look_at(trigger) == 1
    assert look_at(trigger) == 0
    assert ids_of(trigger) == [[2]]


def test_a_coarse_cursor_gives_each_row_once(invoices: Any) -> None:
    trigger = poll_of(invoices, poll={"cursor": "issued_on"})
    look_at(trigger)
    insert = f"INSERT INTO public.{invoices[1]} (id, issued_on) VALUES (%s, '2026-01-06')"
    execute(insert, [6])
    look_at(trigger)
    execute(insert, [7])
    look_at(trigger)
    look_at(trigger)
    assert ids_of(trigger) == [[6], [7]]


def test_an_empty_table_and_rows_without_a_cursor(invoices: Any) -> None:
    execute(f"DELETE FROM public.{invoices[1]}")
    trigger = poll_of(invoices, poll={"cursor": "updated_at"})
    assert look_at(trigger) == 0
    execute(f"INSERT INTO public.{invoices[1]} (id) VALUES (1)")
    assert look_at(trigger) == 0
    add_invoices(invoices[1], 2, 2)
    assert look_at(trigger) == 1
    assert ids_of(trigger) == [[2]]


def test_a_query_gets_the_position(invoices: Any) -> None:
    text = f"SELECT id, total FROM public.{invoices[1]} WHERE id > %(position)s AND total > 0.02"
    trigger = poll_of(invoices, poll={"entity": "", "query": text, "start": "1"})
    look_at(trigger)
    add_invoices(invoices[1], 6, 6)
    look_at(trigger)
    look_at(trigger)
    assert ids_of(trigger) == [[3, 4, 5], [6]]
    trigger.refresh_from_db()
    assert trigger.poll_state.position["value"] == "6"


def test_each_row_becomes_an_event(invoices: Any) -> None:
    type_ = f"com.acme.{unique_name('seen').replace('_', '-')}.v1".replace("-", "")
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "maximum": 7}}}
    create_contract(type_, schema=schema, description="Seen.", actor=SYSTEM)
    trigger = poll_of(invoices, poll={"event_type": type_})
    look_at(trigger)
    add_invoices(invoices[1], 6, 7)
    assert look_at(trigger) == 0
    assert firings_of(trigger) == [("published", 0)]
    events = Event.objects.filter(type=type_)
    assert sorted(event.data["id"] for event in events) == [6, 7]
    assert runs_of(trigger) == []
    # One row that does not fit its type holds back the look as a whole, until somebody mends it.
    add_invoices(invoices[1], 8, 8)
    look_at(trigger)
    trigger.refresh_from_db()
    assert trigger.last_error["code"] == "events.invalid"
    assert Event.objects.filter(type=type_).count() == 2


def test_an_error_shows_and_backs_off_and_the_rows_come_later(invoices: Any) -> None:
    trigger = poll_of(invoices)
    look_at(trigger)
    execute(f"ALTER TABLE public.{invoices[1]} RENAME TO {invoices[1]}_away")
    for failures in (1, 2, 3):
        assert look_at(trigger) == 0
        trigger.refresh_from_db()
        assert trigger.poll_state.failures == failures
        trigger.poll_state.refresh_from_db()
    assert trigger.last_error["code"] == "connectors.entity_gone"
    wait = Trigger.objects.filter(pk=trigger.pk, next_due_at__gt=Now() + timedelta(seconds=30))
    assert wait.exists(), "the third failure waits 40 seconds, not ten"
    execute(f"ALTER TABLE public.{invoices[1]}_away RENAME TO {invoices[1]}")
    add_invoices(invoices[1], 6, 6)
    assert look_at(trigger) == 1
    trigger.refresh_from_db()
    assert (trigger.last_error, PollState.objects.get(trigger=trigger).failures) == (None, 0)


def test_rows_that_start_nothing_stay_new(invoices: Any) -> None:
    flow = make_flow(TAKES_ROWS, name=unique_name("polled"))
    trigger = poll_of(invoices, flow, poll={"start": "4"})
    assert look_at(trigger) == 0
    trigger.refresh_from_db()
    assert trigger.last_error["code"] == "engine.poll.held_back"
    assert "2 new rows wait" in trigger.last_error["message"]
    assert firings_of(trigger) == []
    publish_flow(flow.pk, actor=SYSTEM)
    deploy_version(flow.pk, environment="dev", version=1, actor=SYSTEM)
    assert look_at(trigger) == 1
    assert ids_of(trigger) == [[4, 5]]


def test_a_paused_flow_keeps_its_rows(invoices: Any) -> None:
    trigger = poll_of(invoices, poll={"start": "4"})
    pause_flow(trigger.flow_id, actor=SYSTEM)
    assert look_at(trigger) == 0
    assert firings_of(trigger) == []
    resume_flow(trigger.flow_id, actor=SYSTEM)
    assert look_at(trigger) == 1


def test_rows_that_are_deleted_are_no_error(invoices: Any) -> None:
    trigger = poll_of(invoices)
    look_at(trigger)
    execute(f"DELETE FROM public.{invoices[1]} WHERE id > 2")
    assert look_at(trigger) == 0
    trigger.refresh_from_db()
    assert trigger.last_error is None
    add_invoices(invoices[1], 6, 6)
    assert look_at(trigger) == 1
    assert ids_of(trigger) == [[6]]


def test_too_many_rows_move_nothing(invoices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ROWS_MOST", 3)
    trigger = poll_of(invoices, poll={"start": "0"})
    assert look_at(trigger) == 0
    trigger.refresh_from_db()
    assert trigger.last_error["code"] == "engine.poll.too_many"
    assert trigger.poll_state.position is None
    update_trigger(trigger.pk, actor=SYSTEM, poll={"start": "4"})
    assert look_at(trigger) == 1
    assert ids_of(trigger) == [[4, 5]]


def test_a_full_queue_keeps_the_rows_for_later(invoices: Any, settings: Any) -> None:
    trigger = poll_of(invoices, poll={"start": "0"})
    settings.ENGINE = {**settings.ENGINE, "tenant_queue": 0}
    assert look_at(trigger) == 0
    [firing] = Firing.objects.filter(trigger=trigger)
    assert (firing.status, len(firing.parameters["rows"])) == ("pending", 5)
    assert look_at(trigger) == 0
    settings.ENGINE = {}
    Firing.objects.filter(pk=firing.pk).update(next_attempt_at=Now())
    sweep_everywhere()
    assert ids_of(trigger) == [[1, 2, 3, 4, 5]]


def test_many_workers_hand_each_row_out_once(invoices: Any, committed_acme: Tenant) -> None:
    trigger = poll_of(invoices, poll={"start": "0"})
    barrier = threading.Barrier(4)

    def work() -> None:
        with tenant_context(committed_acme):
            barrier.wait(10)
            poll_trigger(trigger.pk)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ids_of(trigger) == [[1, 2, 3, 4, 5]]


def test_a_look_whose_lease_ran_out_hands_nothing_out(invoices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frozen worker wakes when another one has looked: its rows and its position are refused."""
    trigger = poll_of(invoices, poll={"start": "0"})
    true_look = looking.look
    nested: list[int] = []

    def slow(*args: Any) -> Any:
        found = true_look(*args)
        if not nested:
            nested.append(0)
            PollState.objects.filter(trigger=trigger).update(lease_expires_at=Now() - timedelta(seconds=1))
            nested.append(look_at(trigger))
        return found

    monkeypatch.setattr("apps.engine.services.triggers.polling.look", slow)
    assert look_at(trigger) == 0
    assert nested[1] == 1
    assert ids_of(trigger) == [[1, 2, 3, 4, 5]]


def test_a_pause_during_a_look_hands_nothing_out_and_the_position_stays(
    invoices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = poll_of(invoices, poll={"start": "0"})
    true_look = looking.look

    def paused_meanwhile(*args: Any) -> Any:
        found = true_look(*args)
        pause_trigger(trigger.pk, actor=SYSTEM)
        return found

    monkeypatch.setattr("apps.engine.services.triggers.polling.look", paused_meanwhile)
    assert look_at(trigger) == 0
    assert runs_of(trigger) == []
    monkeypatch.undo()
    assert look_at(trigger) == 0, "a paused poll does not look"
    resume_trigger(trigger.pk, actor=SYSTEM)
    assert look_at(trigger) == 1


def test_the_sweeper_rings_and_does_not_look(invoices: Any) -> None:
    trigger = poll_of(invoices, poll={"start": "0"})
    assert ring_due_polls() == 1
    assert ring_due_polls() == 0, "not again within half a minute"
    assert runs_of(trigger) == []
    PollState.objects.filter(trigger=trigger).update(rung_at=Now() - timedelta(minutes=1))
    assert ring_due_polls() == 1
    PollState.objects.filter(trigger=trigger).update(rung_at=None, lease_expires_at=Now() + timedelta(minutes=1))
    assert ring_due_polls() == 0, "somebody looks"


def test_another_source_starts_anew(invoices: Any) -> None:
    trigger = poll_of(invoices)
    look_at(trigger)
    update_trigger(trigger.pk, actor=SYSTEM, poll={"batch_rows": 3})
    assert PollState.objects.get(trigger=trigger).position is not None
    update_trigger(trigger.pk, actor=SYSTEM, poll={"cursor": "updated_at"})
    assert PollState.objects.get(trigger=trigger).position is None


def test_polls_of_two_tenants_do_not_meet(invoices: Any, committed_acme: Tenant, committed_globex: Tenant) -> None:
    trigger = poll_of(invoices, poll={"start": "0"})
    with tenant_context(committed_globex):
        assert poll_trigger(trigger.pk) == 0
        assert ring_due_polls() == 0
        assert not PollState.objects.filter(trigger_id=trigger.pk).exists()
    assert look_at(trigger) == 1
    with tenant_context(committed_globex):
        assert not Run.objects.filter(flow_id=trigger.flow_id).exists()


def test_keeping_a_poll_needs_the_right_to_use_connections(invoices: Any) -> None:
    trigger = poll_of(invoices)
    deployer = Actor(kind="user", id=uuid4(), name="d", permissions=frozenset({"flow:deploy", "flow:view"}))
    settings = {"name": "x", "every_s": 10, "poll": trigger.poll}
    with pytest.raises(PermissionDenied):
        create_trigger(trigger.flow_id, "dev", kind="poll", actor=deployer, **settings)
    with pytest.raises(PermissionDenied):
        update_trigger(trigger.pk, actor=deployer, name="x")


# -- what is new ------------------------------------------------------------------------------------------------


def test_the_position_remembers_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "RECENT_MOST", 4)
    position = Position("n", type="BIGINT")
    fresh, position = position.take([{"n": n, "x": n} for n in (3, 1, 2, 6, 5, 4)], ())
    assert [row["n"] for row in fresh] == [1, 2, 3, 4, 5, 6]
    assert (position.value, position.floor, len(position.recent)) == ("6", "3", 4)
    fresh, again = position.take([{"n": n, "x": n} for n in (1, 2, 3, 6)], ())
    assert (fresh, again) == ([], position)
    with pytest.raises(positions.PollCursorCoarse):
        position.take([{"n": 7, "x": x} for x in range(6)], ())


def test_keys_tell_rows_apart_and_changes_of_other_columns_do_not() -> None:
    first, position = Position("n", type="BIGINT").take([{"n": 1, "id": 1, "x": "a"}], ("id",))
    second, _ = position.take([{"n": 1, "id": 1, "x": "b"}, {"n": 1, "id": 2, "x": "a"}], ("id",))
    assert ([row["id"] for row in first], [row["id"] for row in second]) == ([1], [2])


# -- REST -------------------------------------------------------------------------------------------------------


def test_a_poll_is_made_checked_and_shown(invoices: Any, committed_acme: Tenant, api_for: Api) -> None:
    api = api_for(committed_acme)
    flow = deployed(TAKES_ROWS, name=unique_name("polled"))
    poll = {"connection": invoices[0], "entity": f"public.{invoices[1]}", "cursor": "id"}
    body = {"flow": str(flow.pk), "environment": "dev", "name": "new", "kind": "poll", "every_s": 30, "poll": poll}
    checked = api.post("/api/v2/triggers/check", {**body, "poll": {**poll, "connection": "nowhere"}}, format="json")
    assert [problem["path"] for problem in checked.json()["problems"]] == ["poll.connection"]
    made = api.post("/api/v2/triggers", body, format="json")
    assert made.status_code == 201, made.content
    row = made.json()
    assert row["poll"] == {**poll, "query": "", "start": "", "batch_rows": 100, "event_type": ""}
    assert row["poll_state"] == {"polled_at": None, "position": None, "failures": 0}
    assert row["description"] == f"Every 30 seconds: new rows of public.{invoices[1]} in {invoices[0]}"
    changed = api.patch(f"/api/v2/triggers/{row['id']}", {"poll": {"batch_rows": 5}}, format="json").json()
    assert (changed["poll"]["batch_rows"], changed["poll"]["cursor"]) == (5, "id")
    by_cron = {"every_s": None, "cron": "0 6 * * *", "zone": "Europe/Zurich"}
    assert api.patch(f"/api/v2/triggers/{row['id']}", by_cron, format="json").json()["every_s"] is None
    assert len(api.get(f"/api/v2/triggers/{row['id']}/next?count=2").json()["moments"]) == 2
    assert [one["id"] for one in api.get("/api/v2/triggers?kind=poll").json()["results"]] == [row["id"]]


def test_rows_are_shown_to_those_who_may_use_connections(
    invoices: Any, committed_acme: Tenant, api_for: Api, settings: Any
) -> None:
    trigger = poll_of(invoices, poll={"start": "4"}, mapping={"n": "count"}, flow=deployed(TAKES_ROWS_AND_COUNT))
    look_at(trigger)
    [run] = runs_of(trigger)
    for permissions, names in (("run:view",), {"n"}), (("run:view", "connection:use"), {"n", "rows"}):
        found = api_for(committed_acme, permissions=permissions).get(f"/api/v2/runs/{run.pk}").json()
        assert (set(found["parameters"]), found["parameters"]["n"]) == (names, 2)
    settings.ENGINE = {**settings.ENGINE, "tenant_queue": 0}
    add_invoices(invoices[1], 6, 6)
    look_at(trigger)
    waiting = api_for(committed_acme).get(f"/api/v2/triggers/{trigger.pk}/firings?status=pending").json()["results"]
    assert [(row["rows"], row["parameters"]) for row in waiting] == [(1, {"n": 1})]


@pytest.mark.parametrize(
    ("changes", "poll", "path"),
    [
        ({"every_s": 5}, {}, "every_s"),
        ({"every_s": None}, {}, "every_s"),
        ({"cron": "0 6 * * *", "zone": "UTC"}, {}, "every_s"),
        ({}, {"cursor": ""}, "poll.cursor"),
        ({}, {"query": "SELECT 1"}, "poll.entity"),
        ({}, {"entity": "", "query": "SELECT 1", "start": "0"}, "poll.query"),
        ({}, {"entity": "", "query": "SELECT %(position)s"}, "poll.start"),
        ({}, {"batch_rows": 501}, "poll.batch_rows"),
        ({}, {"event_type": "com.acme.nothing.v1"}, "poll.event_type"),
        ({}, {"connection": "nowhere"}, "poll.connection"),
        ({"types": ["run.*"]}, {}, "types"),
        ({"mapping": {"x": "due_at"}}, {}, "mapping.x"),
    ],
)
def test_what_cannot_be_polled_is_refused_by_field(
    invoices: Any, committed_acme: Tenant, api_for: Api, changes: Any, poll: Any, path: str
) -> None:
    flow = deployed(TAKES_ROWS, name=unique_name("polled"))
    whole = {"connection": invoices[0], "entity": f"public.{invoices[1]}", "cursor": "id", **poll}
    body = {"flow": str(flow.pk), "environment": "dev", "name": "new", "kind": "poll", "every_s": 30, "poll": whole}
    answer = api_for(committed_acme).post("/api/v2/triggers", {**body, **changes}, format="json")
    assert answer.status_code == 422, answer.content
    assert path in {problem["path"] for problem in answer.json()["problems"]}


def test_another_tenant_cannot_poll_a_connection_that_is_not_its_own(
    invoices: Any, committed_acme: Tenant, committed_globex: Tenant, api_for: Api
) -> None:
    trigger = poll_of(invoices)
    stranger = api_for(committed_globex)
    assert stranger.get(f"/api/v2/triggers/{trigger.pk}").status_code == 404
    with tenant_context(committed_globex):
        flow = deployed(TAKES_ROWS, name=unique_name("polled"))
    body = {
        "flow": str(flow.pk),
        "environment": "dev",
        "name": "n",
        "kind": "poll",
        "every_s": 30,
        "poll": trigger.poll,
    }
    answer = stranger.post("/api/v2/triggers", body, format="json")
    assert [problem["path"] for problem in answer.json()["problems"]] == ["poll.connection"]
