"""Oneself over REST."""

from __future__ import annotations

from typing import Any

import pytest

from apps.tenancy.models import Tenant

URL = "/api/v2/me"


def test_me_says_who_where_and_what_is_allowed(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme, permissions=("flow:view", "run:start"))

    body = client.get(URL).json()

    assert body["user"]["email"] == client.user.email
    assert set(body["user"]) == {"id", "email", "name", "timezone", "locale", "theme"}
    assert body["tenant"] == {"id": str(acme.id), "slug": "acme", "name": "Acme"}
    assert body["permissions"] == ["flow:view", "run:start"]
    assert len(body["roles"]) == 1


def test_me_needs_a_sign_in(acme: Tenant, client: Any) -> None:
    answer = client.get(URL, HTTP_HOST="acme.localhost")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_session_of_one_tenant_is_unknown_to_the_other(acme: Tenant, globex: Tenant, api_for: Any) -> None:
    client = api_for(acme)
    assert client.get(URL).status_code == 200
    assert client.get(URL, HTTP_HOST="globex.localhost").status_code == 401


def test_me_costs_few_queries(acme: Tenant, api_for: Any, django_assert_num_queries: Any) -> None:
    client = api_for(acme)
    client.get(URL)
    with django_assert_num_queries(4):  # session, user, permissions, roles
        client.get(URL)


def test_profile_is_changed_field_by_field(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme, roles=("viewer",))

    body = client.patch(URL, {"name": "Ada", "timezone": "Europe/Vienna", "theme": "dark"}).json()
    assert (body["user"]["name"], body["user"]["timezone"], body["user"]["theme"]) == ("Ada", "Europe/Vienna", "dark")

    body = client.patch(URL, {"locale": "de"}).json()
    assert (body["user"]["name"], body["user"]["locale"]) == ("Ada", "de")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"timezone": "Mars/Olympus"}, "timezone"), ({"locale": "tlh"}, "locale"), ({"theme": "neon"}, "theme")],
)
def test_profile_refuses_nonsense(acme: Tenant, api_for: Any, change: dict[str, str], field: str) -> None:
    answer = api_for(acme).patch(URL, change)
    assert answer.status_code == 422
    assert answer.json()["field"] == field


def test_profile_cannot_change_what_is_not_offered(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme, roles=("viewer",))
    before = client.get(URL).json()

    client.patch(
        URL,
        {
            "email": "x@y.z",
            "id": "1",
            "is_platform_staff": True,
            "is_active": False,
            "roles": ["admin"],
            "password": "x",
        },
    )

    assert client.get(URL).json() == before


def test_write_by_session_needs_the_csrf_token(acme: Tenant, user_for: Any) -> None:
    from rest_framework.test import APIClient

    from apps.tenancy.services.context import tenant_context

    client = APIClient(enforce_csrf_checks=True, HTTP_HOST="acme.localhost")
    with tenant_context(acme):
        client.force_login(user_for(acme))
    assert client.patch(URL, {"name": "Eve"}).status_code == 403
