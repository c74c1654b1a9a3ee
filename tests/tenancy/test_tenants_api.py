"""Tenants over REST and in the admin site: the platform's own host and staff only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app
from django.core.cache import cache
from django.test import Client
from rest_framework.test import APIClient

from apps.access.models import User
from apps.tenancy.models import Domain, Provisioning, Tenant
from apps.tenancy.selectors import find_tenant
from apps.tenancy.services.context import tenant_context
from apps.tenancy.tasks import provision_registered_tenant

URL = "/api/v2/tenants"


@pytest.fixture(autouse=True)
def _fresh_cache(db: None) -> None:
    cache.clear()


@pytest.fixture
def staff(db: None) -> User:
    return User.objects.create_superuser("root@platform.example", "correct-horse-battery-staple")


@pytest.fixture
def api(staff: User) -> APIClient:
    client = APIClient(HTTP_HOST="localhost")
    client.force_login(staff)
    return client


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client(HTTP_HOST="localhost")
    client.force_login(staff)
    return client


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was put on the broker."""
    messages: list[Any] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args: messages.append((name, args)))
    return messages


def test_create_answers_at_once_and_a_worker_provisions(
    api: APIClient, sent: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = api.post(URL, {"slug": "umbrella", "name": "Umbrella", "owner_email": "a@umbrella.example"})
    assert answer.status_code == 202
    body = answer.json()
    assert body["status"] == "provisioning"
    assert body["provisioning"] == {
        "status": "queued", "step": "", "done": 0, "total": 0, "attempts": 0, "error": "", "finished_at": None,
    }  # fmt: skip
    assert body["domains"] == [{"domain": "umbrella.localhost", "is_primary": True}]
    assert sent == [("tenancy.provision_tenant", [body["id"]])]
    busy = Client(HTTP_HOST="umbrella.localhost").get("/api/v2/me")
    assert (busy.status_code, busy.json()["code"]) == (503, "tenancy.not_ready")

    provision_registered_tenant(body["id"])

    body = api.get(f"{URL}/{body['id']}").json()
    assert body["status"] == "active"
    assert body["provisioning"]["done"] == body["provisioning"]["total"] > 5
    assert Client(HTTP_HOST="umbrella.localhost").get("/api/v2/me").status_code == 401


def test_create_survives_a_broker_that_is_down(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def down(name: str, args: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(current_app, "send_task", down)
    with django_capture_on_commit_callbacks(execute=True):
        answer = api.post(URL, {"slug": "umbrella", "name": "Umbrella"})
    assert answer.status_code == 202
    assert Provisioning.objects.get(tenant__slug="umbrella").status == "queued"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"slug": "acme", "name": "Again"}, 409, "core.conflict"),
        ({"slug": "admin", "name": "Reserved"}, 422, "tenancy.invalid_slug"),
        ({"slug": "Umbrella", "name": "Capital"}, 422, "tenancy.invalid_slug"),
        ({"slug": "umbrella", "name": "Umbrella", "domain": "acme.localhost"}, 409, "tenancy.domain_taken"),
        ({"slug": "umbrella", "name": "Umbrella", "domain": "http://x/y"}, 422, "tenancy.invalid_domain"),
        ({"slug": "umbrella", "name": "Umbrella", "owner_email": "nobody"}, 422, "core.invalid"),
        ({"name": "No slug"}, 422, "core.invalid"),
    ],
)
def test_create_refuses(api: APIClient, acme: Tenant, body: Any, status: int, code: str) -> None:
    answer = api.post(URL, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert find_tenant("umbrella") is None


def test_list_is_paged_with_few_queries(
    api: APIClient, acme: Tenant, globex: Tenant, django_assert_num_queries: Any
) -> None:
    api.get(URL)  # the first request of a minute notes when the session was seen
    with django_assert_num_queries(4):  # session, user, tenants, domains
        first = api.get(f"{URL}?limit=1").json()
    second = api.get(first["next"]).json()
    assert {row["slug"] for row in (*first["results"], *second["results"])} <= {"acme", "globex"}
    assert first["results"][0]["slug"] != second["results"][0]["slug"]


def test_suspend_and_resume(api: APIClient, acme: Tenant, globex: Tenant) -> None:
    answer = api.patch(f"{URL}/{acme.id}", {"status": "suspended", "suspended_reason": "unpaid"})
    assert (answer.json()["status"], answer.json()["suspended_reason"]) == ("suspended", "unpaid")
    assert Client(HTTP_HOST="acme.localhost").get("/api/v2/me").status_code == 403
    assert Client(HTTP_HOST="globex.localhost").get("/api/v2/me").status_code == 401

    assert api.patch(f"{URL}/{acme.id}", {"status": "active"}).json()["status"] == "active"
    assert Client(HTTP_HOST="acme.localhost").get("/api/v2/me").status_code == 401


def test_rename_and_domains(api: APIClient, acme: Tenant) -> None:
    assert api.patch(f"{URL}/{acme.id}", {"name": "Acme Industries"}).json()["name"] == "Acme Industries"

    made = api.post(f"{URL}/{acme.id}/domains", {"domain": "data.acme.example", "is_primary": True})
    assert made.status_code == 201
    assert {"domain": "data.acme.example", "is_primary": True} in made.json()["domains"]

    assert api.delete(f"{URL}/{acme.id}/domains/data.acme.example").status_code == 204
    assert not Domain.objects.filter(domain="data.acme.example").exists()


def test_schema_names_and_roles_cannot_be_written(api: APIClient, acme: Tenant) -> None:
    api.patch(
        f"{URL}/{acme.id}", {"schema_name": "t_globex", "db_role": "postgres", "slug": "globex", "id": str(uuid4())}
    )
    acme.refresh_from_db()
    assert (acme.slug, acme.schema_name) == ("acme", "t_acme")


def test_unknown_tenant_is_404(api: APIClient) -> None:
    assert api.get(f"{URL}/{uuid4()}").json()["code"] == "tenancy.not_found"


def test_anonymous_and_ordinary_people_are_refused(db: None) -> None:
    assert APIClient(HTTP_HOST="localhost").get(URL).status_code in {401, 403}
    client = APIClient(HTTP_HOST="localhost")
    client.force_login(User.objects.create_user("someone@platform.example", "x"))
    assert client.get(URL).status_code == 403
    assert client.post(URL, {"slug": "umbrella", "name": "U"}).status_code == 403


def test_tenants_administrator_cannot_reach_tenants(acme: Tenant, api_for: Callable[..., APIClient]) -> None:
    """Neither on the own host, nor with the own session on the platform's host."""
    client = api_for(acme)
    assert client.get(URL).status_code == 404
    assert client.get(URL, HTTP_HOST="localhost").status_code in {401, 403}
    assert client.post(URL, {"slug": "umbrella", "name": "U"}, HTTP_HOST="localhost").status_code in {401, 403}


def test_staff_flag_inside_a_tenant_gives_nothing(acme: Tenant, api_for: Callable[..., APIClient]) -> None:
    client = api_for(acme, roles=("viewer",))
    with tenant_context(acme):
        User.objects.filter(pk=client.user.pk).update(is_platform_staff=True)
    assert client.get(URL).status_code == 404
    assert client.get("/admin/").status_code == 302


def test_admin_makes_a_tenant_with_progress(
    admin: Client, sent: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin.post(
            "/admin/tenancy/tenant/add/",
            {"slug": "umbrella", "name": "Umbrella", "domain": "", "owner_email": "a@umbrella.example"},
        )
    assert answer.status_code == 302
    tenant = find_tenant("umbrella")
    assert tenant is not None
    assert sent == [("tenancy.provision_tenant", [str(tenant.id)])]
    assert "0 of ?: queued" in admin.get("/admin/tenancy/tenant/").content.decode()


@pytest.mark.parametrize("form", [{"slug": "admin"}, {"slug": "U"}, {"slug": "umbrella", "domain": "acme.localhost"}])
def test_admin_shows_what_is_wrong(admin: Client, acme: Tenant, form: dict[str, str]) -> None:
    answer = admin.post("/admin/tenancy/tenant/add/", {"name": "Umbrella", "domain": "", "owner_email": "", **form})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert find_tenant(form["slug"]) is None


def test_admin_actions_suspend_and_resume(admin: Client, acme: Tenant, globex: Tenant) -> None:
    for action, status in (("suspend", 403), ("resume", 401)):
        admin.post("/admin/tenancy/tenant/", {"action": action, "_selected_action": [str(acme.pk)]})
        assert Client(HTTP_HOST="acme.localhost").get("/api/v2/me").status_code == status
        assert Client(HTTP_HOST="globex.localhost").get("/api/v2/me").status_code == 401


def test_admin_continues_provisioning(
    admin: Client, acme: Tenant, sent: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        admin.post("/admin/tenancy/tenant/", {"action": "provision", "_selected_action": [str(acme.pk)]})
    assert sent == [("tenancy.provision_tenant", [str(acme.pk)])]


def test_admin_adds_and_removes_domains(admin: Client, acme: Tenant, globex: Tenant) -> None:
    form = {"tenant": str(acme.pk), "domain": "data.acme.example"}
    assert admin.post("/admin/tenancy/domain/add/", form).status_code == 302
    domain = Domain.objects.get(domain="data.acme.example")
    assert domain.tenant == acme

    taken = admin.post("/admin/tenancy/domain/add/", {"tenant": str(globex.pk), "domain": "localhost"}, follow=True)
    assert "own address" in taken.content.decode()

    assert admin.post(f"/admin/tenancy/domain/{domain.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Domain.objects.filter(domain="data.acme.example").exists()


def test_tenants_admin_site_does_not_show_tenants(acme: Tenant, client_for: Callable[..., Client]) -> None:
    client = client_for(acme)
    index = client.get("/admin/")
    assert index.status_code == 200
    assert "/admin/tenancy/" not in index.content.decode()
    assert client.get("/admin/tenancy/tenant/").status_code == 403
