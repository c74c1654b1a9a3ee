"""Probes, metrics and the error pages."""

from __future__ import annotations

import pytest
from django.test import Client

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
