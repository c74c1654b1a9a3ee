"""Members and roles over REST: nobody hands out more than they hold, and an administrator stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from apps.access.contracts import Actor
from apps.access.exceptions import LastAdministrator
from apps.access.models import Role, User
from apps.access.services.members import create_member, update_member
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context

MEMBERS = "/api/v2/members"
ROLES = "/api/v2/roles"
SYSTEM = Actor.system("tests")


def make_member(tenant: Tenant, *roles: str) -> User:
    with tenant_context(tenant):
        return create_member(f"m{uuid4().hex[:12]}@{tenant.slug}.example", roles=roles, actor=SYSTEM)


def test_list_is_paged_newest_first_with_few_queries(
    acme: Tenant, globex: Tenant, api_for: Any, django_assert_num_queries: Any
) -> None:
    client = api_for(acme)
    made = [make_member(acme, "viewer", "operator") for _ in range(5)]
    make_member(globex, "viewer")
    client.get(MEMBERS)

    with django_assert_num_queries(5):  # session, user, permissions, members, roles
        page = client.get(f"{MEMBERS}?limit=3").json()

    assert [row["id"] for row in page["results"]] == [str(member.id) for member in reversed(made[2:])]
    assert page["results"][0]["roles"] == ["operator", "viewer"]
    rest = client.get(page["next"]).json()
    assert [row["id"] for row in rest["results"]][:2] == [str(made[1].id), str(made[0].id)]
    assert all("globex" not in row["email"] for row in (*page["results"], *rest["results"]))


def test_list_is_searched_by_name_and_address(acme: Tenant, api_for: Any) -> None:
    member = make_member(acme, "viewer")
    results = api_for(acme).get(f"{MEMBERS}?search={member.email[:9].upper()}").json()["results"]
    assert [row["id"] for row in results] == [str(member.id)]


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_member_of_another_tenant_is_unknown(acme: Tenant, globex: Tenant, api_for: Any, method: str) -> None:
    stranger = make_member(globex, "viewer")
    answer = getattr(api_for(acme), method)(f"{MEMBERS}/{stranger.id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "access.member_not_found")
    with tenant_context(globex):
        assert User.objects.get(pk=stranger.pk).is_active


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("get", MEMBERS, None),
        ("get", "{member}", None),
        ("patch", "{member}", {"roles": ["admin"]}),
        ("delete", "{member}", None),
        ("get", ROLES, None),
        ("get", f"{ROLES}/admin", None),
        ("post", ROLES, {"name": "X", "permissions": []}),
        ("patch", f"{ROLES}/admin", {"name": "X"}),
        ("delete", f"{ROLES}/admin", None),
    ],
)
def test_everything_needs_its_permission(acme: Tenant, api_for: Any, method: str, url: str, body: Any) -> None:
    member = make_member(acme, "viewer")
    client = api_for(acme, permissions=("flow:view",))
    answer = getattr(client, method)(url.format(member=f"{MEMBERS}/{member.id}"), body)
    assert (answer.status_code, answer.json()["code"]) == (403, "access.permission_denied")


def test_roles_and_state_are_changed(acme: Tenant, api_for: Any) -> None:
    member, client = make_member(acme, "viewer"), api_for(acme)

    body = client.patch(f"{MEMBERS}/{member.id}", {"roles": ["builder", "operator"]}).json()
    assert body["roles"] == ["builder", "operator"]

    body = client.patch(f"{MEMBERS}/{member.id}", {"is_active": False}).json()
    assert (body["is_active"], body["roles"]) == (False, ["builder", "operator"])


def test_closing_an_account_ends_its_sessions_at_once(acme: Tenant, api_for: Any) -> None:
    admin, member = api_for(acme), api_for(acme, roles=("viewer",))
    assert member.get("/api/v2/me").status_code == 200

    admin.patch(f"{MEMBERS}/{member.user.id}", {"is_active": False})

    assert member.get("/api/v2/me").status_code == 401


def test_manager_cannot_hand_out_or_touch_more_than_they_hold(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme, permissions=("member:view", "member:manage"))
    viewer, admin = make_member(acme, "viewer"), make_member(acme, "admin")

    for url, body in [
        (f"{MEMBERS}/{viewer.id}", {"roles": ["admin"]}),
        (f"{MEMBERS}/{client.user.id}", {"roles": ["admin"]}),
        (f"{MEMBERS}/{admin.id}", {"roles": []}),
        (f"{MEMBERS}/{admin.id}", {"is_active": False}),
    ]:
        answer = client.patch(url, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "access.scope_not_held"), body
    assert client.delete(f"{MEMBERS}/{admin.id}").json()["code"] == "access.scope_not_held"


def test_removed_member_is_gone_and_the_address_is_free(acme: Tenant, api_for: Any) -> None:
    client, member = api_for(acme), make_member(acme, "viewer")
    address = member.email

    assert client.delete(f"{MEMBERS}/{member.id}").status_code == 204

    assert client.get(f"{MEMBERS}/{member.id}").status_code == 404
    with tenant_context(acme):
        row = User.objects.get(pk=member.pk)
        assert (row.is_active, row.name, row.roles.count()) == (False, address, 0)
        assert create_member(address, roles=["viewer"], actor=SYSTEM).pk != row.pk


def test_last_administrator_cannot_be_removed_demoted_or_closed(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme)
    with tenant_context(acme):
        User.objects.exclude(pk=client.user.pk).update(is_active=False)
    url = f"{MEMBERS}/{client.user.id}"

    for answer in (
        client.delete(url),
        client.patch(url, {"roles": ["viewer"]}),
        client.patch(url, {"is_active": False}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "access.last_administrator")

    make_member(acme, "admin")
    assert client.patch(url, {"roles": ["viewer"]}).status_code == 200


def test_two_administrators_who_demote_each_other_at_once_leave_one(committed_globex: Tenant) -> None:
    first, second = make_member(committed_globex, "admin"), make_member(committed_globex, "admin")
    with tenant_context(committed_globex):
        others = list(User.objects.filter(is_active=True).exclude(pk__in=[first.pk, second.pk]))
        User.objects.filter(pk__in=[user.pk for user in others]).update(is_active=False)

    def demote(member: User) -> str:
        try:
            with tenant_context(committed_globex):
                update_member(member.pk, roles=[], actor=SYSTEM)
            return "demoted"
        except LastAdministrator:
            return "refused"
        finally:
            connection.close()

    try:
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(demote, [first, second])) == ["demoted", "refused"]
    finally:
        with tenant_context(committed_globex):
            User.objects.filter(pk__in=[user.pk for user in others]).update(is_active=True)
            User.objects.filter(pk__in=[first.pk, second.pk]).delete()


def test_own_role_lives_from_creation_to_deletion(acme: Tenant, api_for: Any) -> None:
    client, member = api_for(acme), make_member(acme, "viewer")

    made = client.post(ROLES, {"name": "Night shift", "permissions": ["run:control", "run:view"]})
    assert made.status_code == 201
    assert (made.json()["slug"], made.json()["builtin"]) == ("night-shift", False)

    changed = client.patch(f"{ROLES}/night-shift", {"permissions": ["run:view"], "description": "Looks on"})
    assert (changed.json()["permissions"], changed.json()["description"]) == (["run:view"], "Looks on")

    client.patch(f"{MEMBERS}/{member.id}", {"roles": ["night-shift"]})
    used = client.delete(f"{ROLES}/night-shift")
    assert (used.status_code, used.json()["code"]) == (409, "access.role_in_use")

    client.patch(f"{MEMBERS}/{member.id}", {"roles": []})
    assert client.delete(f"{ROLES}/night-shift").status_code == 204
    assert client.get(f"{ROLES}/night-shift").json()["code"] == "access.role_not_found"


@pytest.mark.parametrize(
    ("method", "url", "body", "status", "code"),
    [
        ("patch", f"{ROLES}/admin", {"name": "Boss"}, 409, "access.builtin_role"),
        ("delete", f"{ROLES}/viewer", None, 409, "access.builtin_role"),
        ("post", ROLES, {"name": "Viewer", "permissions": []}, 409, "access.role_taken"),
        ("post", ROLES, {"name": "!!!", "permissions": []}, 422, "core.invalid"),
        ("post", ROLES, {"name": "X", "permissions": ["flow:fly"]}, 422, "access.unknown_permission"),
        ("patch", f"{ROLES}/nobody", {"name": "X"}, 404, "access.role_not_found"),
    ],
)
def test_roles_refuse(acme: Tenant, api_for: Any, method: str, url: str, body: Any, status: int, code: str) -> None:
    answer = getattr(api_for(acme), method)(url, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_role_manager_cannot_put_in_what_they_do_not_hold(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme, permissions=("member:view", "role:manage"))
    answer = client.post(ROLES, {"name": "X", "permissions": ["member:view", "apikey:manage"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "access.scope_not_held")
    assert answer.json()["facts"]["permission"] == "apikey:manage"


def test_role_of_one_tenant_is_unknown_to_the_other(acme: Tenant, globex: Tenant, api_for: Any) -> None:
    with tenant_context(globex):
        Role.objects.create(slug="secret-club", name="Secret club")
    assert api_for(acme).get(f"{ROLES}/secret-club").status_code == 404
    assert "secret-club" not in api_for(acme).get(ROLES).content.decode()


def test_builtin_roles_are_as_documented(acme: Tenant, api_for: Any) -> None:
    roles = {
        row["slug"]: set(row["permissions"]) for row in api_for(acme).get(ROLES).json()["results"] if row["builtin"]
    }
    assert set(roles) == {"viewer", "builder", "operator", "approver", "admin"}
    assert "member:view" in roles["viewer"]
    assert not any(code.endswith((":edit", ":manage", ":write", ":control", ":sign")) for code in roles["viewer"])
    for slug in ("builder", "operator", "approver"):
        assert roles["viewer"] <= roles[slug] <= roles["admin"]
    assert not roles["operator"] & {"tenant:manage", "member:manage", "role:manage", "apikey:manage"}


def test_permissions_are_listed_with_descriptions(acme: Tenant, api_for: Any) -> None:
    body = api_for(acme, roles=("viewer",)).get("/api/v2/permissions").json()
    assert {"code": "member:manage", "description": "Invite, change and remove members"} in body["results"]
    assert body["next"] is None
