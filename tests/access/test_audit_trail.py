"""Every change of access leaves exactly one entry in the tenant's audit trail, and a refused one none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.access.models import User
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context


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
