"""Which tenant a host name means, and when it is not served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.http import HttpRequest, StreamingHttpResponse
from django.test import Client, RequestFactory

from apps.access.models import Role
from apps.tenancy.contracts import StaffMember
from apps.tenancy.exceptions import DomainTaken, InvalidDomain
from apps.tenancy.middleware import TenantMiddleware
from apps.tenancy.models import SchemaLedger, Tenant
from apps.tenancy.services.addresses import absolute_url, add_domain, find_tenant_by_host, normalise_host, remove_domain
from apps.tenancy.services.context import current_tenant, tenant_context
from apps.tenancy.services.tenants import rename_tenant, resume_tenant, suspend_tenant

TESTER = StaffMember("tester")


@pytest.fixture(autouse=True)
def _no_answers_from_other_tests(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def get_me(host: str) -> Any:
    return Client(HTTP_HOST=host).get("/api/v2/me")


def test_each_domain_leads_to_its_tenant(acme: Tenant, globex: Tenant) -> None:
    assert find_tenant_by_host("acme.localhost") == acme
    assert find_tenant_by_host("globex.localhost") == globex


def test_second_look_up_asks_the_cache_only(acme: Tenant, django_assert_num_queries: Any) -> None:
    find_tenant_by_host("acme.localhost")
    with django_assert_num_queries(0):
        assert find_tenant_by_host("acme.localhost") == acme


def test_cached_answer_is_not_taken_from_another_scope(acme: Tenant, globex: Tenant) -> None:
    with tenant_context(globex):
        assert find_tenant_by_host("acme.localhost") == acme
        assert current_tenant() == globex


@pytest.mark.parametrize("host", ["evil.localhost", "acme.localhost.evil.example", "xacme.localhost", "localhost.acme"])
def test_unknown_host_is_refused(acme: Tenant, settings: Any, host: str) -> None:
    answer = get_me(host)
    assert answer.status_code == 404
    assert answer.json()["code"] == "tenancy.unknown_host"


def test_unknown_host_of_a_page_is_refused_with_a_page(acme: Tenant, settings: Any) -> None:
    answer = Client(HTTP_HOST="evil.localhost").get("/overview")
    assert answer.status_code == 404
    assert b"evil.localhost" in answer.content
    assert answer["Content-Type"].startswith("text/html")


def test_forwarded_host_does_not_choose_the_tenant(acme: Tenant, api_for: Any) -> None:
    answer = api_for(acme).get("/api/v2/me", HTTP_X_FORWARDED_HOST="globex.localhost")
    assert answer.json()["tenant"]["slug"] == "acme"


def test_custom_domain_works_at_once_and_stops_at_once(acme: Tenant, settings: Any) -> None:
    assert get_me("data.acme.example").status_code == 404

    add_domain(acme, "Data.Acme.Example.", actor=TESTER)
    assert get_me("data.acme.example").status_code == 401

    remove_domain(acme, "data.acme.example", actor=TESTER)
    assert get_me("data.acme.example").status_code == 404


def test_custom_domain_needs_no_change_of_settings(acme: Tenant, settings: Any, user_for: Any) -> None:
    settings.ALLOWED_HOSTS = ["localhost"]
    add_domain(acme, "data.acme.example", actor=TESTER)
    client = Client(enforce_csrf_checks=True, HTTP_HOST="data.acme.example")
    with tenant_context(acme):
        client.force_login(user_for(acme))
    assert client.get("/api/v2/me").status_code == 200
    assert client.get("/accounts/login/").status_code == 302  # signed in already

    token = client.get("/accounts/password/change/").cookies[settings.CSRF_COOKIE_NAME].value
    for origin, status in [("http://data.acme.example", 200), ("http://evil.example", 403)]:
        answer = client.patch(
            "/api/v2/me",
            {"name": "Ada"},
            content_type="application/json",
            headers={"X-CSRFToken": token, "Origin": origin},
        )
        assert answer.status_code == status


@pytest.mark.parametrize(
    "host", ["", " ", "a b", "acme.localhost\\@evil", "acme.localhost/x", "acme.localhost:x", "[::1]:1"]
)
def test_nonsense_in_the_host_header_is_refused(acme: Tenant, host: str) -> None:
    assert get_me(host).json()["code"] == "tenancy.unknown_host"


def test_platforms_host_is_checked_against_the_settings(db: None, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["other.example"]
    assert get_me("localhost").json()["code"] == "tenancy.unknown_host"


def test_domain_of_another_tenant_is_taken(acme: Tenant, globex: Tenant) -> None:
    with pytest.raises(DomainTaken):
        add_domain(globex, "ACME.localhost", actor=TESTER)
    with pytest.raises(DomainTaken):
        add_domain(globex, "localhost", actor=TESTER)
    assert find_tenant_by_host("acme.localhost") == acme


def test_one_domain_is_primary(acme: Tenant) -> None:
    add_domain(acme, "data.acme.example", primary=True, actor=TESTER)

    assert [domain.domain for domain in acme.domains.filter(is_primary=True)] == ["data.acme.example"]
    assert absolute_url(acme, "/x").startswith("http://data.acme.example")


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("ACME.localhost:8000", "acme.localhost"),
        ("acme.localhost.", "acme.localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_hosts_are_normalised(given: str, host: str) -> None:
    assert normalise_host(given) == host


@pytest.mark.parametrize("given", ["", ".", "a b", "http://x", "x/y", "-x.example", "a" * 64, "[::1]", "x@y", "a..b"])
def test_what_is_no_host_name_is_refused(given: str) -> None:
    with pytest.raises(InvalidDomain):
        normalise_host(given)


def test_suspended_tenant_is_refused_until_resumed(acme: Tenant, globex: Tenant) -> None:
    suspend_tenant(acme, reason="unpaid", actor=TESTER)
    answer = get_me("acme.localhost")
    assert (answer.status_code, answer.json()["code"]) == (403, "tenancy.suspended")
    assert get_me("globex.localhost").status_code == 401

    resume_tenant(acme, actor=TESTER)
    assert get_me("acme.localhost").status_code == 401


def test_renaming_shows_at_once(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme)
    rename_tenant(acme, "Acme Industries", actor=TESTER)
    assert client.get("/api/v2/me").json()["tenant"]["name"] == "Acme Industries"


def test_lagging_schema_is_not_served(acme: Tenant, globex: Tenant) -> None:
    Tenant.objects.filter(pk=acme.pk).update(schema_version="older")
    ledger = SchemaLedger.objects.get(pk=acme.pk)
    SchemaLedger.objects.filter(pk=acme.pk).update(migrations=ledger.migrations[:-1], plan_hash="older")

    answer = get_me("acme.localhost")

    assert (answer.status_code, answer.json()["code"]) == (503, "tenancy.schema_lags")
    assert answer["Retry-After"]
    assert get_me("globex.localhost").status_code == 401


def test_schema_that_is_ahead_is_served(acme: Tenant) -> None:
    """During a rolling upgrade the old release meets schemas that the new one has migrated."""
    Tenant.objects.filter(pk=acme.pk).update(schema_version="newer")
    ledger = SchemaLedger.objects.get(pk=acme.pk)
    SchemaLedger.objects.filter(pk=acme.pk).update(migrations=[*ledger.migrations, "x.9"], plan_hash="newer")

    assert get_me("acme.localhost").status_code == 401


def test_public_host_serves_no_tenant_urls(acme: Tenant, api_for: Any) -> None:
    assert Client(HTTP_HOST="localhost").get("/api/v2/members").status_code == 404


def test_scope_is_left_after_the_request_and_after_a_failing_view(acme: Tenant) -> None:
    def fail(request: HttpRequest) -> Any:
        assert current_tenant() == acme
        raise RuntimeError

    with pytest.raises(RuntimeError):
        TenantMiddleware(fail)(RequestFactory(HTTP_HOST="acme.localhost").get("/"))
    assert current_tenant() is None


def test_streamed_body_is_read_inside_the_tenant(acme: Tenant, globex: Tenant) -> None:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        def body() -> Iterator[bytes]:
            for _ in range(2):
                tenant = current_tenant()
                yield f"{tenant.slug if tenant else None}:{Role.objects.filter(builtin=True).count()} ".encode()

        return StreamingHttpResponse(body())

    response = TenantMiddleware(view)(RequestFactory(HTTP_HOST="acme.localhost").get("/"))
    with tenant_context(globex):
        assert b"".join(response.streaming_content) == b"acme:5 acme:5 "
        assert current_tenant() == globex


@pytest.fixture
def answered(acme: Tenant) -> None:
    """The answer for acme's host is cached, so that an async test's threads open no database session."""
    find_tenant_by_host("acme.localhost")


@pytest.mark.asyncio
async def test_async_request_carries_the_tenant_into_the_view(answered: None) -> None:
    seen: list[Any] = []

    async def view(request: Any) -> StreamingHttpResponse:
        seen.append((request.tenant.slug, current_tenant() == request.tenant))

        async def body() -> Any:
            yield str(current_tenant() is not None).encode()

        return StreamingHttpResponse(body())

    response = await TenantMiddleware(view)(RequestFactory(HTTP_HOST="acme.localhost").get("/"))

    assert seen == [("acme", True)]
    assert current_tenant() is None
    assert [chunk async for chunk in response.streaming_content] == [b"True"]


def test_cache_that_is_away_costs_speed_only(acme: Tenant, api_for: Any, settings: Any) -> None:
    client = api_for(acme)
    away = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {"default": away}

    assert find_tenant_by_host("acme.localhost") == acme
    assert client.get("/api/v2/me").json()["tenant"]["slug"] == "acme"
    add_domain(acme, "data.acme.example", actor=TESTER)
    assert client.get("/api/v2/me", HTTP_HOST="nobody.localhost").status_code == 404
