"""REST v2 of quality: shapes, permissions, other tenants, numbers of queries."""

from __future__ import annotations

import pytest
from django.test.utils import CaptureQueriesContext

from apps.core.ids import uuid7
from apps.quality.contracts import RejectedRow
from apps.quality.services.rejection import quarantine_rows_bulk
from apps.tenancy.services.context import tenant_context
from tests.quality.factories import EMPTY, NEGATIVE, make_context, make_reconciliation, make_rows

API = "/api/v2"


@pytest.fixture
def api(acme, api_for):
    """Acme's administrator."""
    return api_for(acme)


@pytest.fixture
def rows(acme):
    """Three rejected rows of one run."""
    with tenant_context(acme):
        return make_rows(3)


def test_list_filters_and_shows_rows(api, rows, acme):
    with tenant_context(acme):
        context = make_context()
        quarantine_rows_bulk(context, [RejectedRow("9", {"name": "Schmidt", "total": "1.50"}, (EMPTY,), "line 9")])
    run = rows[0].run_id
    body = api.get(f"{API}/quarantine?run={run}").json()
    assert [item["row_id"] for item in body["results"]] == ["2", "1", "0"]
    item = body["results"][0]
    assert item["payload"] == {"id": 2, "total": "-1.50", "email": "p2@x.example"}
    assert item["errors"][0]["rule"] == "positive_total"
    assert (item["payload_complete"], item["decided_by"]) == (True, None)
    assert len(api.get(f"{API}/quarantine?rule=not_null").json()["results"]) == 1
    assert len(api.get(f"{API}/quarantine?search=schm").json()["results"]) == 1
    assert len(api.get(f"{API}/quarantine?run={run}&status=corrected").json()["results"]) == 0
    assert len(api.get(f"{API}/quarantine?run={run}&waiting=true&limit=2").json()["results"]) == 2


@pytest.mark.parametrize("query", ["run=nonsense", "status=lost", "flow=1", "rule=" + "x" * 200])
def test_bad_filters_are_refused(api, query):
    assert api.get(f"{API}/quarantine?{query}").status_code == 422
    assert api.get(f"{API}/quarantine/summary?{query}").status_code == 422


def test_the_list_costs_one_query(api, rows):
    from django.db import connection

    api.get(f"{API}/quarantine")
    with CaptureQueriesContext(connection) as queries:
        api.get(f"{API}/quarantine?run={rows[0].run_id}")
    assert len([query for query in queries if "quality_" in query["sql"]]) == 1


def test_summary(api, rows):
    body = api.get(f"{API}/quarantine/summary?run={rows[0].run_id}").json()
    assert body["by_rule"] == [{"rule": "positive_total", "count": 3}]
    assert (body["total"], body["by_status"]["open"]) == (3, 3)


def test_correct_and_discard(api, rows):
    url = f"{API}/quarantine/{rows[0].pk}"
    unknown = api.patch(url, {"corrected": {"totl": 1}})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "quality.correction_field_unknown")
    fixed = api.patch(url, {"corrected": {"total": "1.50"}, "note": "sign"}).json()
    assert (fixed["status"], fixed["corrected"], fixed["decided_by"]["name"]) == (
        "corrected",
        {"total": "1.50"},
        api.user.email,
    )
    assert api.get(url).json()["note"] == "sign"
    ids = [str(row.pk) for row in rows]
    assert api.post(f"{API}/quarantine/discard", {"ids": ids, "reason": ""}).status_code == 422
    done = api.post(f"{API}/quarantine/discard", {"ids": ids, "reason": "test data"})
    assert (done.status_code, done.json()) == (200, {"discarded": 3})
    again = api.patch(url, {"corrected": {"total": "2"}})
    assert (again.status_code, again.json()["code"]) == (409, "quality.quarantined_row_decided")


def test_reconciliations_and_signature(acme, api_for):
    requester, approver = api_for(acme), api_for(acme, roles=("approver",))
    with tenant_context(acme):
        found = make_reconciliation(requested_by=requester.user.id, missing=1)
    listed = approver.get(f"{API}/reconciliations?run={found.run_id}").json()["results"]
    assert [(item["status"], item["source"]["count"], item["target"]["count"]) for item in listed] == [
        ("red", 412, 411)
    ]
    assert listed[0]["controls"][0]["source"] == "2328.60"
    url = f"{API}/reconciliations/{found.id}"
    own = requester.post(f"{url}/sign", {"comment": "mine"})
    assert (own.status_code, own.json()["code"]) == (403, "quality.self_signoff")
    silent = approver.post(f"{url}/sign", {})
    assert (silent.status_code, silent.json()["code"]) == (422, "quality.comment_required")
    signed = approver.post(f"{url}/sign", {"comment": "late invoice"}).json()
    assert (signed["status"], signed["verdict"], signed["signed_by"]["name"]) == ("signed", "red", approver.user.email)
    assert approver.post(f"{url}/sign", {"comment": "again"}).status_code == 409
    assert approver.get(url).json()["comment"] == "late invoice"


def test_another_tenants_ids_lead_nowhere(rows, acme, globex, api_for):
    stranger = api_for(globex)
    with tenant_context(acme):
        found = make_reconciliation()
    row, run = rows[0].pk, rows[0].run_id
    answers = [
        stranger.get(f"{API}/quarantine/{row}"),
        stranger.patch(f"{API}/quarantine/{row}", {"corrected": {"total": "1"}}),
        stranger.post(f"{API}/quarantine/discard", {"ids": [str(row)], "reason": "x"}),
        stranger.get(f"{API}/reconciliations/{found.id}"),
        stranger.post(f"{API}/reconciliations/{found.id}/sign", {"comment": "x"}),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert stranger.get(f"{API}/quarantine?run={run}").json()["results"] == []
    assert stranger.get(f"{API}/quarantine/summary?run={run}").json()["total"] == 0
    assert stranger.get(f"{API}/reconciliations?run={found.run_id}").json()["results"] == []


def test_permissions(rows, acme, api_for):
    viewer, none = api_for(acme, roles=("viewer",)), api_for(acme, permissions=("flow:view",))
    with tenant_context(acme):
        found = make_reconciliation()
    row = rows[0].pk
    assert viewer.get(f"{API}/quarantine/{row}").status_code == 200
    refused = [
        viewer.patch(f"{API}/quarantine/{row}", {"corrected": {"total": "1"}}),
        viewer.post(f"{API}/quarantine/discard", {"ids": [str(row)], "reason": "x"}),
        viewer.post(f"{API}/reconciliations/{found.id}/sign", {}),
        none.get(f"{API}/quarantine"),
        none.get(f"{API}/quarantine/summary"),
        none.get(f"{API}/reconciliations"),
    ]
    assert {answer.status_code for answer in refused} == {403}


def test_unknown_ids_are_404(api):
    assert api.get(f"{API}/quarantine/{uuid7()}").json()["code"] == "quality.quarantined_row_not_found"
    assert api.get(f"{API}/reconciliations/{uuid7()}").json()["code"] == "quality.reconciliation_not_found"
    assert NEGATIVE.to_json()["rule"] == "positive_total"
