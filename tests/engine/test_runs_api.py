"""REST of runs: shapes, rights, paging, idempotency, query counts, and the second tenant at every address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.engine.choices import RunStatus
from apps.engine.models import Run
from apps.engine.services.executing import work_on_run
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import ToyProgram, ToyStep, install_toys, make_flow, make_run

Api = Callable[..., Any]


@pytest.fixture
def toys_only() -> tuple[ToyProgram, ToyStep]:
    return install_toys()


@pytest.fixture
def acme_run(acme: Tenant, toys_only: Any) -> Run:
    """A finished toy run of acme."""
    with tenant_context(acme):
        run = make_run()
        work_on_run(run.pk)
        run.refresh_from_db()
        return run


def addresses(run_id: UUID, flow_id: UUID) -> list[tuple[str, str]]:
    base = f"/api/v2/runs/{run_id}"
    return [
        ("get", base),
        ("get", f"{base}/log"),
        ("get", f"{base}/steps"),
        ("post", f"{base}/cancel"),
        ("post", f"{base}/resume"),
        ("post", f"{base}/retry"),
        ("post", f"/api/v2/flows/{flow_id}/runs"),
    ]


def test_run_has_the_agreed_shape(acme: Tenant, acme_run: Run, api_for: Api) -> None:
    body = api_for(acme, roles=("viewer",)).get(f"/api/v2/runs/{acme_run.pk}").json()
    assert body["status"] == "succeeded"
    assert body["flow"] == {"id": str(acme_run.flow_id), "name": acme_run.flow_name}
    assert (body["version"], body["environment"]) == ("draft", "dev")
    assert set(body["progress"]) == {
        "rows_read", "rows_accepted", "rows_quarantined", "rows_filtered", "rows_written", "bytes", "rows_per_s",
        "estimate_rows", "share",
    }  # fmt: skip
    assert body["progress"]["share"] == 1.0
    assert [stage["path"] for stage in body["stages"]] == ["a", "b"]
    assert {"path", "name", "kind", "status", "attempt", "started_at", "ended_at", "rows", "bytes", "rows_per_s",
            "detail", "id", "inherited"} == set(body["stages"][0])  # fmt: skip
    assert body["duration_ms"] >= 0
    assert body["error"] is None
    assert body["reconciliation"] is None
    assert body["requested_by"]["kind"] == "system"


def test_list_filters_and_pages(acme: Tenant, acme_run: Run, api_for: Api) -> None:
    api = api_for(acme, roles=("viewer",))
    with tenant_context(acme):
        other = make_run()
    ids = [row["id"] for row in api.get("/api/v2/runs").json()["results"]]
    assert ids[:2] == [str(other.pk), str(acme_run.pk)]
    assert [r["id"] for r in api.get(f"/api/v2/runs?flow={other.flow_id}").json()["results"]] == [str(other.pk)]
    assert [r["id"] for r in api.get("/api/v2/runs?status=succeeded").json()["results"]] == [str(acme_run.pk)]
    assert len(api.get("/api/v2/runs?status=succeeded&status=running").json()["results"]) == 2
    assert api.get("/api/v2/runs?environment=prod").json()["results"] == []
    page = api.get("/api/v2/runs?limit=1").json()
    assert (len(page["results"]), page["next"] is not None) == (1, True)
    assert api.get(page["next"]).json()["results"][0]["id"] == str(acme_run.pk)


def test_log_is_read_by_cursor(acme: Tenant, acme_run: Run, api_for: Api) -> None:
    api = api_for(acme, roles=("viewer",))
    first = api.get(f"/api/v2/runs/{acme_run.pk}/log?limit=1").json()
    assert [line["seq"] for line in first["results"]] == [1]
    rest = api.get(f"/api/v2/runs/{acme_run.pk}/log?after={first['next_after']}").json()
    assert [line["seq"] for line in rest["results"]] == list(range(2, rest["next_after"] + 1))
    empty = api.get(f"/api/v2/runs/{acme_run.pk}/log?after={rest['next_after']}").json()
    assert empty == {"results": [], "next_after": rest["next_after"]}
    assert api.get(f"/api/v2/runs/{acme_run.pk}/log?after=x").status_code == 422
    assert api.get(f"/api/v2/runs/{acme_run.pk}/log?after=-1").status_code == 422


def test_steps_show_every_attempt(acme: Tenant, acme_run: Run, api_for: Api) -> None:
    rows = api_for(acme, roles=("viewer",)).get(f"/api/v2/runs/{acme_run.pk}/steps").json()["results"]
    assert {(row["path"], row["attempt"], row["status"]) for row in rows} == {
        ("a", 1, "succeeded"),
        ("b", 1, "succeeded"),
    }
    assert all(len(row["definition_hash"]) == 64 for row in rows)


@pytest.mark.parametrize("number", range(7))
def test_second_tenant_s_ids_lead_nowhere(acme_run: Run, globex: Tenant, api_for: Api, number: int) -> None:
    method, address = addresses(acme_run.pk, acme_run.flow_id)[number]
    answer = getattr(api_for(globex), method)(
        address, {"environment": "dev", "version": "draft"} if method == "post" else None
    )
    assert answer.status_code == 404, (address, answer.content)
    assert str(acme_run.flow_name) not in answer.content.decode()


@pytest.mark.parametrize("number", range(7))
def test_nobody_gets_in_without_signing_in(acme: Tenant, acme_run: Run, number: int) -> None:
    from rest_framework.test import APIClient

    method, address = addresses(acme_run.pk, acme_run.flow_id)[number]
    assert getattr(APIClient(HTTP_HOST="acme.localhost"), method)(address).status_code in (401, 403)


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        (("run:view",), {"get"}),
        (("run:view", "run:start"), {"get", "retry", "start"}),
        (("run:view", "run:control"), {"get", "cancel", "resume"}),
        ((), set()),
    ],
)
def test_rights_are_checked_one_by_one(
    acme: Tenant, acme_run: Run, api_for: Api, permissions: tuple[str, ...], allowed: set[str]
) -> None:
    api = api_for(acme, permissions=permissions)
    base = f"/api/v2/runs/{acme_run.pk}"
    answers = {
        "get": api.get(base),
        "cancel": api.post(f"{base}/cancel"),
        "resume": api.post(f"{base}/resume"),
        "retry": api.post(f"{base}/retry"),
        "start": api.post(f"/api/v2/flows/{acme_run.flow_id}/runs", {"environment": "dev", "version": "draft"}),
    }
    refused = {name for name, answer in answers.items() if answer.status_code == 403}
    assert refused == set(answers) - allowed
    for name in refused:
        assert answers[name].json()["code"] == "access.permission_denied"


def test_start_is_accepted_and_repeated_by_its_key(acme: Tenant, api_for: Api) -> None:
    with tenant_context(acme):
        flow = make_flow()
    api = api_for(acme, roles=("operator",))
    body = {"environment": "dev", "version": "draft", "idempotency_key": f"k-{uuid4()}"}
    first = api.post(f"/api/v2/flows/{flow.pk}/runs", body)
    assert first.status_code == 202, first.content
    again = api.post(f"/api/v2/flows/{flow.pk}/runs", body)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    other = api.post(f"/api/v2/flows/{flow.pk}/runs", {**body, "mode": "full"})
    assert (other.status_code, other.json()["code"]) == (409, "engine.run.idempotency_conflict")
    header = api.post(
        f"/api/v2/flows/{flow.pk}/runs",
        {"environment": "dev", "version": "draft"},
        HTTP_IDEMPOTENCY_KEY=body["idempotency_key"],
    )
    assert header.json()["id"] == first.json()["id"]


def test_second_active_run_is_refused_and_named(acme: Tenant, api_for: Api) -> None:
    with tenant_context(acme):
        flow = make_flow()
    api = api_for(acme, roles=("operator",))
    body = {"environment": "dev", "version": "draft"}
    first = api.post(f"/api/v2/flows/{flow.pk}/runs", body).json()
    second = api.post(f"/api/v2/flows/{flow.pk}/runs", body)
    assert (second.status_code, second.json()["code"]) == (409, "engine.run.already_active")
    assert second.json()["facts"]["run_id"] == first["id"]
    assert api.post(f"/api/v2/runs/{first['id']}/cancel").json()["status"] == "cancelled"
    assert api.post(f"/api/v2/flows/{flow.pk}/runs", body).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"environment": "prod", "version": "draft"}, 422, "engine.run.draft_not_here"),
        ({"environment": "dev"}, 404, "integrations.not_deployed"),
        ({"environment": "moon", "version": "draft"}, 404, "integrations.environment_not_found"),
        ({"environment": "dev", "version": 99}, 404, "integrations.version_not_found"),
        ({"environment": "dev", "version": "draft", "mode": "incremental"}, 422, "engine.run.mode_not_possible"),
        (
            {"environment": "dev", "version": "draft", "since": "2026-01-01T00:00:00Z"},
            422,
            "engine.run.mode_not_possible",
        ),
        ({"environment": "dev", "version": "newest"}, 422, "core.invalid"),
        ({"environment": "dev", "version": -1}, 422, "core.invalid"),
        ({"environment": "dev", "version": "draft", "mode": "sideways"}, 422, "core.invalid"),
    ],
)
def test_bad_start_says_what_is_wrong(acme: Tenant, api_for: Api, body: dict[str, Any], status: int, code: str) -> None:
    with tenant_context(acme):
        flow = make_flow()
    answer = api_for(acme, roles=("operator",)).post(f"/api/v2/flows/{flow.pk}/runs", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_retry_is_a_new_run_that_names_the_old_one(acme: Tenant, acme_run: Run, api_for: Api) -> None:
    body = api_for(acme, roles=("operator",)).post(f"/api/v2/runs/{acme_run.pk}/retry").json()
    assert body["id"] != str(acme_run.pk)
    assert (body["retry_of"], body["trigger"]) == (str(acme_run.pk), "retry")


def test_ended_run_is_not_controlled(acme: Tenant, acme_run: Run, api_for: Api) -> None:
    api = api_for(acme, roles=("operator",))
    for action in ("cancel", "resume"):
        answer = api.post(f"/api/v2/runs/{acme_run.pk}/{action}")
        assert (answer.status_code, answer.json()["code"]) == (409, "engine.run.wrong_state")


def test_number_of_queries_does_not_grow(acme: Tenant, acme_run: Run, api_for: Api) -> None:
    api = api_for(acme, roles=("viewer",))
    api.get("/api/v2/runs")

    def count(address: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as found:
            assert api.get(address).status_code == 200
        return len(found)

    few = {address: count(address) for address in ("/api/v2/runs", f"/api/v2/runs/{acme_run.pk}")}
    with tenant_context(acme):
        for _ in range(5):
            make_run()
    assert {address: count(address) for address in few} == few
    # Session, user, roles and rights come first; then the list takes one query, the run three.
    assert few["/api/v2/runs"] <= 7
    assert few[f"/api/v2/runs/{acme_run.pk}"] <= 9


def test_flows_list_knows_the_last_run(acme: Tenant, acme_run: Run, api_for: Api) -> None:
    body = api_for(acme, roles=("viewer",)).get(f"/api/v2/flows/{acme_run.flow_id}").json()
    assert body["last_run"]["id"] == str(acme_run.pk)
    assert body["last_run"]["status"] == RunStatus.SUCCEEDED


def test_events_tell_the_run_s_story(acme: Tenant, acme_run: Run) -> None:
    from apps.events.models import Event

    with tenant_context(acme):
        types = list(Event.objects.filter(subject=f"run/{acme_run.pk}").order_by("id").values_list("type", flat=True))
    assert types == ["com.analytics-portal.run.started.v1", "com.analytics-portal.run.completed.v1"]
