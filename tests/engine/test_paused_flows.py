"""A paused flow: nothing starts a run of it, everything else goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from apps.engine.choices import RunStatus
from apps.engine.models import Run
from apps.engine.services.controlling import cancel_run, retry_run
from apps.integrations.exceptions import FlowPaused
from apps.integrations.services.drafts import archive_flow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import process, start, value

Api = Callable[..., Any]
DEFINITION = process(value("a", x="1"))


def test_manual_start_is_refused_until_the_flow_is_resumed(acme: Tenant, api_for: Api) -> None:
    with tenant_context(acme):
        flow = make_flow(DEFINITION)
    api = api_for(acme)
    address = f"/api/v2/flows/{flow.pk}"
    paused = api.post(f"{address}/pause", {"reason": "month end"}, format="json")
    assert paused.status_code == 200
    assert paused.json()["paused_at"] is not None
    refused = api.post(f"{address}/runs", {"version": "draft"}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "integrations.flow_paused")
    assert "month end" in refused.json()["detail"]
    assert refused.json()["remedy"]
    assert api.get("/api/v2/runs", {"flow": str(flow.pk)}).json()["results"] == []
    assert api.post(f"{address}/resume").json()["paused_at"] is None
    assert api.post(f"{address}/runs", {"version": "draft"}, format="json").status_code == 202
    actions = [row["action"] for row in api.get("/api/v2/audit").json()["results"]]
    assert {"flow.paused", "flow.resumed"} <= set(actions)


def test_retry_of_a_paused_flow_is_refused(as_acme: Tenant) -> None:
    from apps.integrations.services.pausing import pause_flow

    run = start(DEFINITION)
    cancel_run(run.pk, actor=SYSTEM)
    pause_flow(run.flow_id, actor=SYSTEM)
    with pytest.raises(FlowPaused):
        retry_run(run.pk, actor=SYSTEM)
    assert Run.objects.get(pk=run.pk).status == RunStatus.CANCELLED


def test_pausing_needs_the_right_and_a_flow_of_the_tenant(acme: Tenant, globex: Tenant, api_for: Api) -> None:
    with tenant_context(acme):
        flow = make_flow(DEFINITION)
        archived = make_flow(DEFINITION)
        archive_flow(archived.pk, actor=SYSTEM)
    for verb in ("pause", "resume"):
        assert api_for(acme, roles=("viewer",)).post(f"/api/v2/flows/{flow.pk}/{verb}").status_code == 403
        assert api_for(globex).post(f"/api/v2/flows/{flow.pk}/{verb}").status_code == 404
        assert api_for(acme).post(f"/api/v2/flows/{uuid4()}/{verb}").status_code == 404
        assert api_for(acme).post(f"/api/v2/flows/{archived.pk}/{verb}").status_code == 409


def test_idempotency_key_header_repeats_the_first_run(acme: Tenant, api_for: Api) -> None:
    with tenant_context(acme):
        flow = make_flow(DEFINITION)
    api, address = api_for(acme), f"/api/v2/flows/{flow.pk}/runs"
    body = {"version": "draft", "parameters": {"month": "2026-10"}}
    first = api.post(address, body, format="json", headers={"Idempotency-Key": "close-2026-10"})
    again = api.post(address, body, format="json", headers={"Idempotency-Key": "close-2026-10"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    other = api.post(address, {"version": "draft"}, format="json", headers={"Idempotency-Key": "close-2026-10"})
    assert (other.status_code, other.json()["code"]) == (409, "engine.run.idempotency_conflict")
    long = api.post(address, body, format="json", headers={"Idempotency-Key": "k" * 201})
    assert long.status_code == 422
