"""API keys: shown once, bounded by scopes and by their creator, unknown on every other host."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from apps.access.models import ApiKey, User
from apps.core.clock import now
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context

URL = "/api/v2/api-keys"


def make_key(client: APIClient, *scopes: str, **fields: Any) -> dict[str, Any]:
    answer = client.post(URL, {"name": "robot", "scopes": list(scopes), **fields})
    assert answer.status_code == 201, answer.json()
    return answer.json()


def with_key(key: str, host: str = "acme.localhost") -> APIClient:
    return APIClient(HTTP_HOST=host, HTTP_AUTHORIZATION=f"Bearer {key}")


def test_key_is_shown_once_and_stored_as_a_hash(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme)

    made = make_key(client, "member:view")

    assert made["key"].startswith(f"aip_{made['prefix']}_")
    listed = client.get(URL).json()["results"][0]
    assert "key" not in listed
    with tenant_context(acme):
        row = ApiKey.objects.get()
        secret = made["key"].rsplit("_", 1)[1]
        assert secret not in str(row.__dict__)
        assert len(row.key_hash) == 64


def test_key_does_what_its_scopes_allow_and_no_more(acme: Tenant, api_for: Any) -> None:
    robot = with_key(make_key(api_for(acme), "member:view")["key"])
    assert robot.get("/api/v2/members").status_code == 200
    assert robot.get("/api/v2/me").json()["permissions"] == ["member:view"]
    assert robot.get(URL).status_code == 403
    assert robot.post("/api/v2/invitations", {"email": "a@b.example", "roles": ["viewer"]}).status_code == 403


def test_key_needs_no_csrf_token(acme: Tenant, api_for: Any) -> None:
    key = make_key(api_for(acme), "member:view", "role:manage")["key"]
    robot = APIClient(enforce_csrf_checks=True, HTTP_HOST="acme.localhost", HTTP_AUTHORIZATION=f"Bearer {key}")
    assert robot.post("/api/v2/roles", {"name": "Made by robot", "permissions": ["member:view"]}).status_code == 201


def test_key_of_one_tenant_is_unknown_to_the_other(acme: Tenant, globex: Tenant, api_for: Any) -> None:
    key = make_key(api_for(acme), "member:view")["key"]
    assert with_key(key, "globex.localhost").get("/api/v2/members").status_code == 401


def test_key_cannot_be_revoked_by_another_tenant(acme: Tenant, globex: Tenant, api_for: Any) -> None:
    made = make_key(api_for(acme), "member:view")
    answer = api_for(globex).delete(f"{URL}/{made['id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "access.api_key_not_found")
    assert with_key(made["key"]).get("/api/v2/me").status_code == 200


def test_key_loses_what_its_creator_loses(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme, permissions=("apikey:manage", "member:view"))
    robot = with_key(make_key(client, "member:view")["key"])
    assert robot.get("/api/v2/members").status_code == 200

    with tenant_context(acme):
        client.user.roles.clear()

    assert robot.get("/api/v2/members").status_code == 403


@pytest.mark.parametrize("end", ["revoked", "expired", "creator closed", "creator removed"])
def test_key_dies(acme: Tenant, api_for: Any, end: str) -> None:
    client, other = api_for(acme), api_for(acme)
    made = make_key(client, "member:view", expires_at=(now() + timedelta(hours=1)).isoformat())
    robot = with_key(made["key"])
    assert robot.get("/api/v2/me").status_code == 200

    if end == "revoked":
        assert client.delete(f"{URL}/{made['id']}").status_code == 204
        assert client.delete(f"{URL}/{made['id']}").status_code == 204
    elif end == "expired":
        with tenant_context(acme):
            ApiKey.objects.update(expires_at=now() - timedelta(seconds=1))
    elif end == "creator closed":
        other.patch(f"/api/v2/members/{client.user.id}", {"is_active": False})
    else:
        other.delete(f"/api/v2/members/{client.user.id}")

    answer = robot.get("/api/v2/me")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "aip",
        "aip__",
        "aip_0000000000_" + "x" * 48,
        "{prefix}wrong",
        "{key}x",
        "{upper}",
        "x {key}",
        "é" * 10,
        "aip_%_%",
        "aip_" + "x" * 10_000 + "_y",
    ],
)
def test_wrong_key_is_refused_even_beside_a_session(acme: Tenant, api_for: Any, key: str) -> None:
    client = api_for(acme)
    made = make_key(client, "member:view")
    token = key.format(prefix=made["key"][:16], key=made["key"], upper=made["key"].upper())
    answer = client.get("/api/v2/me", HTTP_AUTHORIZATION=f"Bearer {token}".encode().decode("latin-1"))
    assert answer.status_code == 401


def test_authentication_is_one_indexed_query(acme: Tenant, api_for: Any, django_assert_num_queries: Any) -> None:
    robot = with_key(make_key(api_for(acme), "member:view")["key"])
    robot.get("/api/v2/permissions")  # notes the first use
    with django_assert_num_queries(1):
        assert robot.get("/api/v2/permissions").status_code == 200


def test_last_use_is_noted_at_most_once_a_minute(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme)
    robot = with_key(make_key(client, "member:view")["key"])
    robot.get("/api/v2/me")
    first = client.get(URL).json()["results"][0]["last_used_at"]
    robot.get("/api/v2/me")
    assert first is not None
    assert client.get(URL).json()["results"][0]["last_used_at"] == first


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"scopes": ["flow:fly"]}, 422, "access.unknown_permission"),
        ({"scopes": ["role:manage"]}, 403, "access.scope_not_held"),
        ({"scopes": []}, 422, "core.invalid"),
        ({"scopes": ["member:view"], "expires_at": "2020-01-01T00:00:00Z"}, 422, "access.expiry_invalid"),
        ({"scopes": ["member:view"], "expires_at": "2099-01-01T00:00:00Z"}, 422, "access.expiry_invalid"),
    ],
)
def test_create_refuses(acme: Tenant, api_for: Any, fields: Any, status: int, code: str) -> None:
    client = api_for(acme, permissions=("apikey:manage", "member:view"))
    answer = client.post(URL, {"name": "robot", **fields})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_key_cannot_make_keys_or_act_as_a_person(acme: Tenant, api_for: Any) -> None:
    robot = with_key(make_key(api_for(acme), "apikey:manage", "member:view")["key"])
    assert robot.get(URL).status_code == 200
    for answer in (
        robot.post(URL, {"name": "child", "scopes": ["member:view"]}),
        robot.patch("/api/v2/me", {"name": "Robot"}),
        robot.get("/api/v2/sessions"),
        robot.post("/api/v2/sessions/end-others"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "access.permission_denied")


def test_keys_page_costs_few_queries(acme: Tenant, api_for: Any, django_assert_num_queries: Any) -> None:
    client = api_for(acme)
    for _ in range(3):
        make_key(client, "member:view")
    with django_assert_num_queries(4):  # session, user, permissions, keys with creators
        assert len(client.get(f"{URL}?limit=2").json()["results"]) == 2


def test_unknown_key_is_404(acme: Tenant, api_for: Any) -> None:
    assert api_for(acme).delete(f"{URL}/{uuid4()}").json()["code"] == "access.api_key_not_found"


def test_requests_are_counted_per_key_and_tenant(
    acme: Tenant, globex: Tenant, api_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.access.services.http import ActorThrottle

    cache.clear()
    monkeypatch.setattr(ActorThrottle, "THROTTLE_RATES", {"actor": "3/min"})
    clients = [api_for(acme), api_for(globex)]
    first, second = (with_key(make_key(clients[0], "member:view")["key"]) for _ in range(2))

    assert [first.get("/api/v2/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert second.get("/api/v2/me").status_code == 200
    assert clients[1].get("/api/v2/me").status_code == 200

    refused = first.get("/api/v2/me")
    assert int(refused["Retry-After"]) > 0
    assert refused.headers["Content-Type"] == "application/problem+json"
    cache.clear()


def test_same_person_id_in_two_tenants_is_counted_apart(
    acme: Tenant, globex: Tenant, api_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.access.services.http import ActorThrottle

    cache.clear()
    monkeypatch.setattr(ActorThrottle, "THROTTLE_RATES", {"actor": "1/min"})
    client = api_for(acme)
    with tenant_context(globex):
        twin = User(pk=client.user.pk, email="twin@globex.example")
        twin.set_unusable_password()
        twin.save(force_insert=True)
    other = api_for(globex, user=twin)

    assert [client.get("/api/v2/me").status_code for _ in range(2)] == [200, 429]
    assert other.get("/api/v2/me").status_code == 200
    cache.clear()
