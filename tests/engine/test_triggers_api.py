"""REST of triggers: shapes, rights, paging, previews, faults, the audit trail, and the second tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from apps.engine.models import Trigger
from apps.engine.services.triggers.firing import fire_due
from apps.integrations.services.calendars import save_calendar
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.trigger_factories import DEFINITION, deployed, make_overdue, schedule

Api = Callable[..., Any]
BASE = "/api/v2/triggers"


def wanted(flow: Any, **changes: Any) -> dict[str, Any]:
    return {
        "flow": str(flow.pk),
        "environment": "dev",
        "name": "nightly",
        "kind": "schedule",
        "cron": "0 6 * * 1-5",
        "zone": "Europe/Zurich",
        **changes,
    }


@pytest.fixture
def flow(acme: Tenant) -> Any:
    with tenant_context(acme):
        return deployed()


def test_a_trigger_is_made_changed_paused_resumed_and_deleted(acme: Tenant, flow: Any, api_for: Api) -> None:
    api = api_for(acme, roles=("operator",))
    made = api.post(BASE, wanted(flow), format="json")
    assert made.status_code == 201, made.content
    body = made.json()
    assert (body["flow"]["name"], body["environment"], body["status"]) == (flow.name, "dev", "active")
    assert body["next_due_at"] is not None
    assert body["last_fired_at"] is body["last_error"] is body["last_run"] is None
    assert "06:00" in body["description"]
    address = f"{BASE}/{body['id']}"
    changed = api.patch(address, {"cron": "30 7 * * *", "catch_up": "all"}, format="json").json()
    assert (changed["cron"], changed["catch_up"], changed["zone"]) == ("30 7 * * *", "all", "Europe/Zurich")
    assert datetime.fromisoformat(changed["next_due_at"]).minute == 30
    paused = api.post(f"{address}/pause", {"reason": "audit"}, format="json").json()
    assert (paused["status"], paused["status_reason"], paused["next_due_at"]) == ("paused", "audit", None)
    again = api.post(f"{address}/pause")
    assert (again.status_code, again.json()["code"]) == (409, "engine.trigger.wrong_state")
    assert len(api.get(f"{address}/next?count=3").json()["moments"]) == 3
    assert api.post(f"{address}/resume").json()["next_due_at"] is not None
    assert api.delete(address).status_code == 204
    assert api.get(address).status_code == 404
    actions = [row["action"] for row in api_for(acme).get("/api/v2/audit").json()["results"]]
    assert {f"trigger.{verb}" for verb in ("created", "changed", "paused", "resumed", "deleted")} <= set(actions)


def test_list_filters_and_pages(acme: Tenant, flow: Any, api_for: Api) -> None:
    api = api_for(acme)
    for number in range(3):
        assert api.post(BASE, wanted(flow, name=f"t{number}"), format="json").status_code == 201
    event = wanted(flow, name="on paid", kind="event", types=["run.*"])
    del event["cron"], event["zone"]
    assert api.post(BASE, event, format="json").status_code == 201
    of_flow = f"{BASE}?flow={flow.pk}"
    page = api.get(f"{of_flow}&limit=3").json()
    assert [row["name"] for row in page["results"]] == ["on paid", "t2", "t1"]
    assert [row["name"] for row in api.get(page["next"]).json()["results"]] == ["t0"]
    assert [row["name"] for row in api.get(f"{of_flow}&kind=event").json()["results"]] == ["on paid"]
    assert api.get(f"{of_flow}&environment=prod").json()["results"] == []
    assert api.get(f"{of_flow}&status=paused").json()["results"] == []


def test_list_is_searched_by_name_of_trigger_or_flow(acme: Tenant, flow: Any, api_for: Api) -> None:
    api = api_for(acme)
    assert api.post(BASE, wanted(flow, name="Month end"), format="json").status_code == 201
    assert api.post(BASE, wanted(flow, name="other"), format="json").status_code == 201
    assert [row["name"] for row in api.get(f"{BASE}?search=month e").json()["results"]] == ["Month end"]
    assert len(api.get(f"{BASE}?search={flow.name.upper()}&flow={flow.pk}").json()["results"]) == 2


def test_firings_are_shown(acme: Tenant, api_for: Api) -> None:
    with tenant_context(acme):
        trigger = schedule(catch_up="once")
        make_overdue(trigger, 3)
        fire_due()
    body = api_for(acme, roles=("viewer",)).get(f"{BASE}/{trigger.pk}/firings").json()["results"]
    assert {"started", "skipped"} == {row["status"] for row in body}
    started = next(row for row in body if row["status"] == "started")
    assert started["run"]
    assert started["due_at"]
    skipped = next(row for row in body if row["status"] == "skipped")
    only = api_for(acme).get(f"{BASE}/{trigger.pk}/firings?status=skipped").json()["results"]
    assert {row["status"] for row in only} == {"skipped"}
    assert (skipped["missed"] > 0, skipped["error"]["code"]) == (True, "engine.trigger.missed")


def test_a_schedule_is_previewed_over_a_change_of_clocks(acme: Tenant, api_for: Api) -> None:
    api = api_for(acme, roles=("viewer",))
    given = {"cron": "30 2 * * *", "zone": "Europe/Zurich", "count": 2, "after": "2026-03-28T12:00:00Z"}
    found = api.post(f"{BASE}/preview", given, format="json")
    assert found.status_code == 200
    assert found.json()["moments"] == ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    wrong = api.post(f"{BASE}/preview", {"cron": "61 * * * *", "zone": "Mars/Olympus"}, format="json")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "engine.trigger.invalid")
    assert {problem["path"] for problem in wrong.json()["problems"]} == {"cron", "zone"}


def test_a_trigger_is_checked_before_it_is_saved(acme: Tenant, flow: Any, api_for: Api) -> None:
    api = api_for(acme, roles=("operator",))
    given = {"kind": "schedule", "name": "n", "cron": "0 6 * * 1-5", "zone": "Europe/Zurich", "count": 3}
    found = api.post(f"{BASE}/check", given, format="json").json()
    assert (found["problems"], len(found["moments"])) == ([], 3)
    assert "06:00" in found["description"]
    wrong = {**given, "cron": "61 * * * *", "mapping": {"x": "nothing_there"}}
    found = api.post(f"{BASE}/check", wrong, format="json").json()
    assert {problem["path"] for problem in found["problems"]} == {"cron", "mapping.x"}
    assert (found["moments"], found["description"]) == ([], "")
    event = {"kind": "event", "name": "e", "types": ["run.*"], "filter": "data->>'a'"}
    assert [one["path"] for one in api.post(f"{BASE}/check", event, format="json").json()["problems"]] == ["filter"]
    with tenant_context(acme):
        assert not Trigger.objects.filter(flow=flow).exists()
    assert api_for(acme, roles=("viewer",)).post(f"{BASE}/check", given, format="json").status_code == 403


def test_a_check_knows_only_the_own_tenants_calendars(acme: Tenant, globex: Tenant, api_for: Api) -> None:
    with tenant_context(acme):
        save_calendar("checked-here", name="Here", zone="UTC", rest_days=[], holidays=[], actor=SYSTEM)
    given = {"kind": "schedule", "name": "n", "cron": "0 6 * * *", "zone": "UTC", "calendar": "checked-here"}
    assert api_for(acme).post(f"{BASE}/check", given, format="json").json()["problems"] == []
    found = api_for(globex).post(f"{BASE}/check", given, format="json").json()["problems"]
    assert [problem["path"] for problem in found] == ["calendar"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"cron": "nonsense"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"zone": "CEST"}, "zone"),
        ({"calendar": "nowhere"}, "calendar"),
        ({"types": ["run.*"]}, "types"),
        ({"name": "  "}, "name"),
        ({"mapping": {"x": "nothing_there + 1"}}, "mapping.x"),
        ({"catch_up": "sometimes"}, "catch_up"),
        ({"kind": "event"}, "cron"),
        ({"kind": "event", "cron": "", "zone": "", "types": ["run.*"], "filter": "data->>'a'"}, "filter"),
        ({"parameters": {"x": "y" * 70_000}}, "parameters"),
    ],
)
def test_what_cannot_work_is_refused_by_field(
    acme: Tenant, flow: Any, api_for: Api, changes: dict[str, Any], path: str
) -> None:
    body = {name: value for name, value in wanted(flow, **changes).items() if value != ""}
    answer = api_for(acme).post(BASE, body, format="json")
    assert answer.status_code == 422, answer.content
    assert path in {problem["path"] for problem in answer.json()["problems"]}
    with tenant_context(acme):
        assert not Trigger.objects.filter(flow=flow).exists()


def test_a_name_is_taken_once(acme: Tenant, flow: Any, api_for: Api) -> None:
    api = api_for(acme)
    assert api.post(BASE, wanted(flow), format="json").status_code == 201
    again = api.post(BASE, wanted(flow), format="json")
    assert (again.status_code, again.json()["code"]) == (409, "engine.trigger.name_taken")
    assert api.post(BASE, wanted(flow, environment="prod"), format="json").status_code == 201
    assert api.post(BASE, wanted(flow, environment="moon", name="x"), format="json").status_code == 404


def test_changing_needs_the_right_to_deploy(acme: Tenant, flow: Any, api_for: Api) -> None:
    with tenant_context(acme):
        trigger = schedule(flow)
    for api in (api_for(acme, roles=("viewer",)), api_for(acme, permissions=("flow:view", "flow:edit", "run:start"))):
        assert api.get(f"{BASE}/{trigger.pk}").status_code == 200
        assert api.post(BASE, wanted(flow), format="json").status_code == 403
        assert api.patch(f"{BASE}/{trigger.pk}", {"name": "x"}, format="json").status_code == 403
        assert api.delete(f"{BASE}/{trigger.pk}").status_code == 403
        for verb in ("pause", "resume"):
            assert api.post(f"{BASE}/{trigger.pk}/{verb}").status_code == 403
    assert api_for(acme, permissions=("run:view",)).get(BASE).status_code == 403


def test_another_tenant_sees_and_changes_nothing(acme: Tenant, globex: Tenant, flow: Any, api_for: Api) -> None:
    with tenant_context(acme):
        trigger = schedule(flow)
    stranger = api_for(globex)
    assert str(trigger.pk) not in stranger.get(BASE).content.decode()
    for method, tail in (
        ("get", ""), ("patch", ""), ("delete", ""), ("post", "/pause"), ("post", "/resume"), ("get", "/next"),
        ("get", "/firings"),
    ):  # fmt: skip
        assert getattr(stranger, method)(f"{BASE}/{trigger.pk}{tail}").status_code == 404, (method, tail)
    assert stranger.post(BASE, wanted(flow), format="json").status_code == 404
    assert stranger.get(f"{BASE}/{uuid4()}").status_code == 404
    with tenant_context(acme):
        assert Trigger.objects.get(pk=trigger.pk).status == "active"


def test_an_archived_flow_gets_no_trigger(acme: Tenant, api_for: Api) -> None:
    with tenant_context(acme):
        flow = make_flow(DEFINITION)
    api = api_for(acme)
    assert api.delete(f"/api/v2/flows/{flow.pk}").status_code == 204
    assert api.post(BASE, wanted(flow), format="json").json()["code"] == "integrations.flow_archived"
