"""Every change of access leaves exactly one entry in the tenant's audit trail, and a refused one none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from rest_framework.test import APIClient

from apps.access.contracts import Actor
from apps.access.models import User
from apps.access.services.members import create_member
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.access.test_login import totp_code

PASSWORD = "correct-horse-battery-staple"


def actions(client: Any) -> list[str]:
    return [row["action"] for row in client.get("/api/v2/audit?limit=200").json()["results"]]


@pytest.mark.parametrize(
    ("call", "action"),
    [
        (lambda api: api.post("/api/v2/roles", {"name": "Night", "permissions": []}), "access.role.created"),
        (
            lambda api: api.post("/api/v2/invitations", {"email": "a@b.example", "roles": ["viewer"]}),
            "access.invitation.created",
        ),
        (
            lambda api: api.post("/api/v2/api-keys", {"name": "robot", "scopes": ["member:view"]}),
            "access.api_key.created",
        ),
        (lambda api: api.patch("/api/v2/me", {"name": "Ada"}), "access.profile.updated"),
        (lambda api: api.post("/api/v2/sessions/end-others"), "access.session.ended"),
    ],
)
def test_change_leaves_one_entry(
    acme: Tenant, globex: Tenant, api_for: Any, call: Callable[[Any], Any], action: str
) -> None:
    client, stranger = api_for(acme), api_for(globex)
    before, foreign = actions(client), actions(stranger)

    assert call(client).status_code < 300

    assert actions(client) == [action, *before]
    assert actions(stranger) == foreign


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.post("/api/v2/roles", {"name": "Viewer", "permissions": []}),
        lambda api: api.delete("/api/v2/roles/admin"),
        lambda api: api.post("/api/v2/api-keys", {"name": "robot", "scopes": ["flow:fly"]}),
        lambda api: api.delete(f"/api/v2/members/{api.user.id}"),
    ],
)
def test_refused_change_leaves_none(acme: Tenant, api_for: Any, call: Callable[[Any], Any]) -> None:
    client = api_for(acme)
    with tenant_context(acme):
        User.objects.exclude(pk=client.user.pk).update(is_active=False)
    before = actions(client)

    assert call(client).status_code >= 400

    assert actions(client) == before


def test_entry_names_the_key_that_acted(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme)
    key = client.post("/api/v2/api-keys", {"name": "robot", "scopes": ["role:manage"]}).json()["key"]
    robot = APIClient(HTTP_HOST="acme.localhost", HTTP_AUTHORIZATION=f"Bearer {key}")
    assert robot.post("/api/v2/roles", {"name": "Night", "permissions": []}).status_code == 201

    entry = client.get("/api/v2/audit").json()["results"][0]
    assert "robot" in str(entry)
    assert key not in str(entry)


def sign_in(email: str, password: str, host: str = "acme.localhost") -> Client:
    client = Client(HTTP_HOST=host)
    client.post("/accounts/login/", {"login": email, "password": password})
    return client


def test_sign_ins_are_recorded_where_they_happened(acme: Tenant, globex: Tenant, api_for: Any) -> None:
    cache.clear()  # the limit on log-ins is kept there
    with tenant_context(acme):
        person = create_member("ada@acme.example", roles=["viewer"], actor=Actor.system("tests"), password=PASSWORD)
    reader, stranger = api_for(acme), api_for(globex)
    before, foreign = actions(reader), actions(stranger)

    sign_in(person.email, "not the password")
    sign_in("nobody@acme.example", "not the password")
    sign_in(person.email, PASSWORD).post("/accounts/logout/")

    ended, succeeded, failed = reader.get("/api/v2/audit?limit=200").json()["results"][:3]
    assert [row["action"] for row in (failed, succeeded, ended)] == [
        "access.sign_in.failed",
        "access.sign_in.succeeded",
        "access.sign_in.ended",
    ]
    assert {row["target"]["id"] for row in (failed, succeeded, ended)} == {str(person.pk)}
    assert len(actions(reader)) == len(before) + 3
    assert actions(stranger) == foreign


def test_changes_of_the_password_and_second_factor_are_recorded(
    acme: Tenant, api_for: Any, django_capture_on_commit_callbacks: Any
) -> None:
    cache.clear()
    with tenant_context(acme):
        person = create_member("ada@acme.example", roles=["viewer"], actor=Actor.system("tests"), password=PASSWORD)
    reader = api_for(acme)
    client = sign_in(person.email, PASSWORD)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
    with (
        tenant_context(acme),
        django_capture_on_commit_callbacks(execute=True),
    ):  # as a request commits within its tenant
        client.post("/accounts/2fa/totp/activate/", {"code": totp_code(secret)})
    client.post("/accounts/2fa/totp/deactivate/")
    changed = {"oldpassword": PASSWORD, "password1": "another-horse-battery", "password2": "another-horse-battery"}
    client.post("/accounts/password/change/", changed)

    rows = reader.get("/api/v2/audit?limit=200").json()["results"]
    assert {"access.factor.added", "access.factor.removed", "access.password.changed"} <= {
        row["action"] for row in rows
    }
    assert not any(secret in str(row) or "another-horse" in str(row) for row in rows)
