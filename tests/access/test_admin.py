"""The admin site on a tenant's host: the same rules as the API."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.test import Client

from apps.access.models import ApiKey, Invitation, Role, User
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context

INDEX = "/admin/"


def test_site_opens_for_tenant_managers_only(acme: Tenant, client_for: Any) -> None:
    assert client_for(acme).get(INDEX).status_code == 200
    assert client_for(acme, permissions=("tenant:manage",)).get(INDEX).status_code == 200
    for role in ("viewer", "builder", "operator", "approver"):
        assert client_for(acme, roles=(role,)).get(INDEX).status_code == 302


def test_pages_show_the_own_tenant_only(acme: Tenant, globex: Tenant, client_for: Any) -> None:
    admin, stranger = client_for(acme), client_for(globex)
    for path in ("user", "role", "invitation", "apikey"):
        page = admin.get(f"{INDEX}access/{path}/")
        assert page.status_code == 200, path
        assert stranger.user.email not in page.content.decode()
    assert admin.get(f"{INDEX}access/user/{stranger.user.pk}/change/").status_code == 302
    assert admin.get(f"{INDEX}access/user/{admin.user.pk}/change/").status_code == 200


def test_unused_tables_are_not_offered(acme: Tenant, client_for: Any) -> None:
    index = client_for(acme).get(INDEX).content.decode()
    for path in ("auth/group", "account/emailaddress", "mfa/authenticator", "usersessions/usersession"):
        assert f"{INDEX}{path}/" not in index


def test_roles_of_a_member_are_changed_by_the_service(acme: Tenant, client_for: Any, user_for: Any) -> None:
    admin, member = client_for(acme), user_for(acme, roles=("viewer",))
    with tenant_context(acme):
        operator = Role.objects.get(slug="operator")

    admin.post(f"{INDEX}access/user/{member.pk}/change/", {"roles": [str(operator.pk)], "is_active": "on"})

    with tenant_context(acme):
        assert [role.slug for role in member.roles.all()] == ["operator"]


def test_last_administrator_is_kept_with_a_message(acme: Tenant, client_for: Any) -> None:
    admin = client_for(acme)
    with tenant_context(acme):
        User.objects.exclude(pk=admin.user.pk).update(is_active=False)

    page = admin.post(f"{INDEX}access/user/{admin.user.pk}/change/", {"roles": [], "is_active": "on"}, follow=True)

    assert "without an administrator" in page.content.decode()
    assert "was changed successfully" not in page.content.decode()
    with tenant_context(acme):
        assert admin.user.roles.filter(slug="admin").exists()


def test_own_role_is_made_and_builtin_ones_are_fixed(acme: Tenant, client_for: Any) -> None:
    admin = client_for(acme)
    form = {"name": "Night shift", "slug": "night-shift", "description": "", "permissions": ["member:view"]}

    assert admin.post(f"{INDEX}access/role/add/", form).status_code == 302

    with tenant_context(acme):
        made = Role.objects.get(slug="night-shift")
        viewer = Role.objects.get(slug="viewer")
    changed = admin.post(f"{INDEX}access/role/{made.pk}/change/", {**form, "name": "Day shift", "permissions": []})
    assert changed.status_code == 302
    with tenant_context(acme):
        made.refresh_from_db()
        assert (made.name, made.permissions) == ("Day shift", [])
    assert admin.post(f"{INDEX}access/role/{viewer.pk}/change/", form).status_code == 403


def test_manager_without_the_permission_is_refused_with_a_message(acme: Tenant, client_for: Any) -> None:
    client = client_for(acme, permissions=("tenant:manage",))
    form = {"name": "Mine", "slug": "mine", "description": "", "permissions": ["member:manage"]}
    page = client.post(f"{INDEX}access/role/add/", form, follow=True)
    assert "needs the permission role:manage" in page.content.decode()
    with tenant_context(acme):
        assert not Role.objects.filter(slug="mine").exists()


def test_invitation_is_sent_and_revoked(
    acme: Tenant, client_for: Any, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    admin = client_for(acme)
    with tenant_context(acme):
        viewer = Role.objects.get(slug="viewer")
    with django_capture_on_commit_callbacks(execute=True):
        admin.post(f"{INDEX}access/invitation/add/", {"email": "ada@x.example", "roles": [str(viewer.pk)]})
    assert mailoutbox[-1].to == ["ada@x.example"]

    with tenant_context(acme):
        invitation = Invitation.objects.get(email="ada@x.example")
        assert [role.slug for role in invitation.roles.all()] == ["viewer"]
    admin.post(f"{INDEX}access/invitation/", {"action": "revoke", "_selected_action": [str(invitation.pk)]})
    with tenant_context(acme):
        invitation.refresh_from_db()
        assert invitation.status == "revoked"


def test_key_is_revoked_but_not_made_here(acme: Tenant, client_for: Any, api_for: Any) -> None:
    admin = client_for(acme)
    api_for(acme).post("/api/v2/api-keys", {"name": "robot", "scopes": ["member:view"]})
    with tenant_context(acme):
        key = ApiKey.objects.get()
    assert admin.get(f"{INDEX}access/apikey/add/").status_code == 403
    page = admin.get(f"{INDEX}access/apikey/{key.pk}/change/").content.decode()
    assert key.key_hash not in page

    admin.post(f"{INDEX}access/apikey/", {"action": "revoke", "_selected_action": [str(key.pk)]})

    with tenant_context(acme):
        assert ApiKey.objects.get().status == "revoked"


def test_platforms_site_shows_its_own_tables_only(db: None) -> None:
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.create_superuser("root@platform.example", "x"))
    shown = set(re.findall(rf'href="{INDEX}(\w+/\w+)/"', client.get(INDEX).content.decode()))

    assert shown == {"access/user", "tenancy/tenant", "tenancy/domain", "tenancy/platformact"}
    hidden = [f"{model._meta.app_label}/{model._meta.model_name}" for model in admin.site._registry]
    for path in set(hidden) - shown:
        assert client.get(f"{INDEX}{path}/").status_code == 403, path


def test_last_platform_administrator_is_kept(db: None) -> None:
    User.objects.filter(is_platform_staff=True).update(is_active=False)
    client = Client(HTTP_HOST="localhost")
    first = User.objects.create_superuser("root@platform.example", "x")
    client.force_login(first)

    page = client.post(f"{INDEX}access/user/{first.pk}/change/", {}, follow=True)
    assert "without an administrator" in page.content.decode()

    second = User.objects.create_superuser("second@platform.example", "x")
    client.post(f"{INDEX}access/user/{second.pk}/change/", {})
    second.refresh_from_db()
    assert second.is_active is False
