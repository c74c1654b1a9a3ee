"""Probes, metrics and the error pages."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.portal.services.operations import read_gauges
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import install_toys, make_run

pytestmark = pytest.mark.django_db


def test_liveness_answers_for_any_host() -> None:
    response = Client(HTTP_HOST="10.1.2.3").get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_readiness_asks_every_dependency() -> None:
    document = Client(HTTP_HOST="10.1.2.3").get("/health/ready").json()
    assert document["status"] == "ok"
    assert {name for name, check in document["checks"].items() if check["ok"]} == {
        "database",
        "broker",
        "cache",
        "channels",
    }


def test_readiness_says_which_dependency_is_gone(settings: object) -> None:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    response = Client().get("/health/ready")
    assert response.status_code == 503
    assert response.json()["checks"]["broker"]["ok"] is False
    assert response.json()["checks"]["database"]["ok"] is True
    assert "127.0.0.1" not in response.content.decode()


def test_metrics_need_the_token_when_one_is_set(settings: object) -> None:
    settings.METRICS_TOKEN = "s3cret-token"  # type: ignore[attr-defined]
    assert Client().get("/metrics").status_code == 403
    page = Client(HTTP_AUTHORIZATION="Bearer s3cret-token").get("/metrics")
    assert page.status_code == 200
    assert b"portal_http_requests_total" in page.content


def test_a_response_carries_the_callers_request_id_when_it_is_well_formed(acme: object) -> None:
    client = Client(HTTP_HOST="acme.localhost")
    assert client.get("/accounts/login/", HTTP_X_REQUEST_ID="abc-12345678")["X-Request-Id"] == "abc-12345678"
    assert client.get("/accounts/login/", HTTP_X_REQUEST_ID="bad id\n")["X-Request-Id"] != "bad id\n"


def test_an_unknown_host_is_not_served() -> None:
    assert Client(HTTP_HOST="nobody.localhost").get("/overview").status_code == 404


def test_an_unknown_api_route_is_a_problem_document(acme: object) -> None:
    response = Client(HTTP_HOST="acme.localhost").post(
        "/api/v2/nothing-here", {"a": 1}, content_type="application/json"
    )
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "core.not_found"


def test_an_unknown_page_is_a_page(acme: object) -> None:
    response = Client(HTTP_HOST="acme.localhost").get("/no-such-page")
    assert response.status_code == 404
    assert b"Page not found" in response.content


def test_the_front_door_leads_to_the_login_page(acme: object) -> None:
    response = Client(HTTP_HOST="acme.localhost").get("/")
    assert (response.status_code, response["Location"]) == (302, "/accounts/login/")


def figures() -> dict[str, float]:
    samples = [sample for gauge in read_gauges() for sample in gauge.samples]
    return {"/".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def test_operators_see_runs_relay_queues_and_tenants(acme: Tenant, globex: Tenant) -> None:
    install_toys()
    before = figures()
    for tenant in (acme, globex):
        with tenant_context(tenant):
            make_run()  # publishes an event, too
    after = figures()

    grown = {name: after[name] - before[name] for name in after}
    assert grown["portal_runs_active/queued"] + grown["portal_runs_active/running"] == 2
    assert after["portal_events_oldest_seconds"] >= 0
    assert after["portal_tenants/active"] >= 2
    assert after["portal_operations_readable"] == 1
    assert {"portal_queue_messages/control", "portal_queue_messages/loads", "portal_events_dead"} <= set(after)
    assert {"portal_captures/running", "portal_capture_lag_seconds", "portal_capture_retained_bytes"} <= set(after)


def test_reading_costs_a_fixed_number_of_queries(acme: Tenant, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(10):  # type: ignore[operator]
        read_gauges()


def test_figures_that_cannot_be_read_are_left_out(acme: Tenant, settings: object) -> None:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    found = figures()
    assert found["portal_operations_readable"] == 0
    assert "portal_queue_messages/loads" not in found
    assert "portal_events_dead" in found


def test_figures_name_no_tenant(acme: Tenant) -> None:
    page = Client().get("/metrics").content.decode()
    assert "portal_operations_readable 1.0" in page
    assert "acme" not in page
