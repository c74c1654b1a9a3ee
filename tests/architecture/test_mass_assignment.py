"""Nobody writes a field that the API does not offer (OWASP API3, BOPLA): each write brings every field there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from apps.access.models import ApiKey, Invitation, Role, User
from apps.connectors.models import Connection
from apps.integrations.models import Environment, Flow
from apps.quality.models import QuarantinedRow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.architecture.test_tenant_isolation import acme_ids  # noqa: F401

pytestmark = pytest.mark.django_db

SOMEBODY = str(uuid4())
SMUGGLED: dict[str, Any] = {
    "id": SOMEBODY,
    "pk": SOMEBODY,
    "tenant": SOMEBODY,
    "tenant_id": SOMEBODY,
    "schema_name": "public",
    "db_role": "postgres",
    "builtin": True,
    "archived_at": "2020-01-01T00:00:00Z",
    "removed_at": "2020-01-01T00:00:00Z",
    "revoked_at": "2020-01-01T00:00:00Z",
    "created_at": "2020-01-01T00:00:00Z",
    "created_by": SOMEBODY,
    "created_by_id": SOMEBODY,
    "invited_by": SOMEBODY,
    "status": "active",
    "is_staff": True,
    "is_superuser": True,
    "is_platform_staff": True,
    "password": "owned-by-somebody-else",
    "email": "somebody@else.example",
    "key_hash": "0" * 64,
    "prefix": "owned",
    "token_hash": "0" * 64,
    "last_check": {"ok": True},
    "last_checked_at": "2020-01-01T00:00:00Z",
    "secrets_set": ["owned"],
    "draft_revision": 99,
    "position": 99,
    "connector": "files",
    "decided_by": SOMEBODY,
    "replay_run_id": SOMEBODY,
    "run_id": SOMEBODY,
    "payload": {"owned": True},
}
# Address below /api/v2/ and the wanted change; the row that may change, and its fields that may.
CHANGES: list[tuple[str, dict[str, Any], Any, str, set[str]]] = [
    ("flows/{flow_id}", {"name": "Mine"}, Flow, "flow_id", {"name"}),
    ("connections/{connection_id}", {"name": "Mine"}, Connection, "connection_id", {"name"}),
    ("members/{member_id}", {"is_active": True}, User, "member_id", set()),
    ("roles/{slug}", {"name": "Mine"}, Role, "slug", {"name"}),
    ("environments/{environment}", {"name": "Mine"}, Environment, "environment", {"name"}),
    (
        "quarantine/{row_id}",
        {"corrected": {"a": 1}},
        QuarantinedRow,
        "row_id",
        {"corrected", "status", "note"},
    ),
]


@pytest.mark.parametrize(("path", "wanted", "model", "key", "may_change"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_change_touches_what_it_names_only(
    acme: Tenant,
    acme_ids: dict[str, str],  # noqa: F811
    api_for: Callable[..., Any],
    path: str,
    wanted: dict[str, Any],
    model: Any,
    key: str,
    may_change: set[str],
) -> None:
    lookup = {"slug" if key in {"slug", "environment"} else "id": acme_ids[key]}

    def row() -> dict[str, Any]:
        with tenant_context(acme):
            found: dict[str, Any] = model.objects.values().get(**lookup)
            return found

    before = row()
    answer = api_for(acme).patch(f"/api/v2/{path.format(**acme_ids)}", {**SMUGGLED, **wanted})

    assert answer.status_code in {200, 422}, answer.content
    after = row()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= may_change | {"updated_at"}


@pytest.mark.parametrize(
    ("path", "wanted", "model", "kept"),
    [
        ("flows", {"name": "New"}, Flow, {"archived_at": None, "draft_revision": 1}),
        (
            "connections",
            {
                "name": "New",
                "connector": "rest",
                "config": {"base_url": "https://api.example.com", "resources": [{"name": "a", "path": "a"}]},
            },
            Connection,
            {"builtin": False, "archived_at": None, "status": "new", "last_check": None},
        ),
        ("roles", {"name": "New", "permissions": []}, Role, {"builtin": False}),
        ("api-keys", {"name": "New", "scopes": ["flow:view"]}, ApiKey, {"revoked_at": None}),
        (
            "invitations",
            {"email": "new@acme.example", "roles": ["viewer"]},
            Invitation,
            {"accepted_at": None, "revoked_at": None, "email": "new@acme.example"},
        ),
    ],
)
def test_what_is_made_has_the_makers_marks(
    acme: Tenant,
    api_for: Callable[..., Any],
    path: str,
    wanted: dict[str, Any],
    model: Any,
    kept: dict[str, Any],
) -> None:
    answer = api_for(acme).post(f"/api/v2/{path}", {**SMUGGLED, **wanted})

    assert answer.status_code in {201, 422}, answer.content
    if answer.status_code == 201:
        with tenant_context(acme):
            row = model.objects.values().get(id=answer.json()["id"])
        assert {name: row[name] for name in kept} == kept
        assert SOMEBODY not in map(str, row.values())
        assert row["created_at"].year > 2020
        assert row.get("prefix") != "owned" and row.get("key_hash") != "0" * 64


def test_nobody_promotes_themselves(acme: Tenant, api_for: Callable[..., Any]) -> None:
    viewer = api_for(acme, roles=("viewer",))
    answer = viewer.patch(
        "/api/v2/me",
        {**SMUGGLED, "name": "Me", "roles": ["admin"], "permissions": ["tenant:manage"], "is_active": True},
    )
    assert answer.status_code == 200
    document = viewer.get("/api/v2/me").json()
    assert (document["roles"], document["user"]["name"]) == (["viewer"], "Me")
    assert document["user"]["email"] == viewer.user.email
    with tenant_context(acme):
        row = User.objects.get(pk=viewer.user.pk)
    assert not (row.is_platform_staff or row.is_superuser or row.is_staff)
    assert row.check_password("correct-horse-battery-staple")
