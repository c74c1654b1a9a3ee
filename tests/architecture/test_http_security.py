"""What every answer and every entrance has in common: headers, form tokens, hosts, redirects, media types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.request import Request

from apps.access.services.http import ActorThrottle
from tests.architecture.test_tenant_isolation import ROUTES, Route, acme_ids, address_of  # noqa: F401
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

LOGIN = "/accounts/login/"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Open on purpose: the way in, the API's description, and the answer to unknown addresses.
OPEN = {
    "",
    "accounts/invitations/<str:token>/",
    "api/v2/schema/",
    "api/v2/docs/",
    "api/v2/<path:rest>",
}


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("acme.localhost", LOGIN, 200),
        ("acme.localhost", "/", 302),
        ("acme.localhost", "/api/v2/me", 401),
        ("acme.localhost", "/api/v2/docs/", 200),
        ("acme.localhost", "/api/v2/no\nroute", 404),
        ("acme.localhost", "/nothing", 404),
        ("acme.localhost", "/admin/", 302),
        ("localhost", "/", 200),
        ("localhost", "/admin/", 302),
        ("unknown.localhost", "/", 404),
        ("unknown.localhost", "/api/v2/me", 404),
    ],
)
def test_every_answer_has_the_security_headers(acme: Any, host: str, path: str, status: int) -> None:
    answer = Client(HTTP_HOST=host).get(path, headers={"Origin": "https://evil.example"})

    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe-eval" not in policy and "unsafe-inline" not in policy.replace("style-src-attr 'unsafe-inline'", "")
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_a_preflight_is_not_answered(acme: Any, client_for: Callable[..., Client]) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = client_for(acme).options("/api/v2/flows", headers=asked)
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_every_write_by_session_needs_the_form_token(acme: Any, acme_ids: dict[str, str], user_for: Any) -> None:  # noqa: F811
    browser = Client(HTTP_HOST="acme.localhost", enforce_csrf_checks=True)
    from apps.tenancy.services.context import tenant_context

    with tenant_context(acme):
        browser.force_login(user_for(acme))
    passed = [
        f"{method.upper()} {route.pattern}: {answer.status_code}"
        for route in ROUTES
        for method in route.methods
        if method != "get"
        and (
            answer := getattr(browser, method)(address_of(route, acme_ids), b"{}", content_type="application/json")
        ).status_code
        != 403
    ]
    assert not passed, "\n".join(passed)


@pytest.mark.parametrize(
    "path", [LOGIN, "/accounts/logout/", "/accounts/password/change/", "/accounts/2fa/webauthn/login/"]
)
def test_every_form_needs_its_token(acme: Any, path: str) -> None:
    answer = Client(HTTP_HOST="acme.localhost", enforce_csrf_checks=True).post(path, {})
    assert answer.status_code == 403
    assert "This form has expired" in answer.content.decode()


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "http://acme.localhost@evil.example/",
        "http://globex.localhost/overview",
        "/%0d%0aSet-Cookie:x=1",
    ],
)
def test_signing_in_leads_nowhere_else(acme: Any, globex: Any, user_for: Any, target: str) -> None:
    user = user_for(acme)
    answer = Client(HTTP_HOST="acme.localhost").post(
        f"{LOGIN}", {"login": user.email, "password": PASSWORD, "next": target}
    )
    assert answer.status_code == 302
    assert re.match(r"^/(?![/\\])", answer.headers["Location"])
    assert "Set-Cookie" not in answer.headers


def test_a_forwarded_host_is_not_believed(acme: Any, globex: Any, user_for: Any, mailoutbox: list[Any]) -> None:
    user = user_for(acme)
    lies = {"X-Forwarded-Host": "globex.localhost", "Forwarded": "host=evil.example", "X-Host": "evil.example"}
    browser = Client(HTTP_HOST="acme.localhost")

    browser.post("/accounts/password/reset/", {"email": user.email}, headers=lies)
    assert "http://acme.localhost" in mailoutbox[-1].body
    assert "evil" not in mailoutbox[-1].body and "globex" not in mailoutbox[-1].body
    assert browser.get("/api/v2/me", headers=lies).status_code == 401
    assert "globex" not in browser.get(LOGIN, headers=lies).content.decode().lower()


def test_a_made_up_address_does_not_evade_the_limits(acme: Any, settings: Any) -> None:
    cache.clear()
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": "3/5m/ip"}
    answers = [
        Client(HTTP_HOST="acme.localhost").post(
            LOGIN,
            {"login": f"nobody{number}@acme.example", "password": "wrong"},
            headers={"X-Forwarded-For": f"203.0.113.{number}"},
        )
        for number in range(5)
    ]
    assert "too many" in answers[-1].content.decode().lower()

    factory = RequestFactory()
    keys = {
        ActorThrottle().get_ident(Request(factory.get("/", headers={"X-Forwarded-For": f"203.0.113.{number}"})))
        for number in range(5)
    }
    assert keys == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"<a/>", "text/xml", 415),
        (b"name=x", "application/x-www-form-urlencoded", 415),
        # What n8n believed (CVE-2026-21858): a JSON body shaped like a parsed upload.
        (b'{"file": {"filepath": "/etc/passwd"}}', "multipart/form-data; boundary=x", 415),
        (b"{}", "application/json; charset=nonsense", 422),
        (b'{"name": "\xff"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b'"' + b"a" * (5 * 1024**2) + b'"', "application/json", 413),
    ],
)
def test_bodies_that_are_none_are_problems(
    acme: Any, api_for: Callable[..., Any], body: bytes, content_type: str, status: int
) -> None:
    answer = api_for(acme).generic("POST", "/api/v2/flows", body, content_type=content_type)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")


def test_an_upload_takes_a_form_only(acme: Any, api_for: Callable[..., Any], acme_ids: dict[str, str]) -> None:  # noqa: F811
    url = f"/api/v2/connections/{acme_ids['connection_id']}/uploads"
    answer = api_for(acme).post(url, {"file": {"filepath": "/etc/passwd", "name": "a.csv"}}, format="json")
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("members?search=%00", 422),
        ("flows?limit=0", 422),
        ("flows?limit=201", 422),
        ("flows?limit=many", 422),
        ("flows?cursor=cD1hYmM%3D", 404),  # "p=abc", which is no id
        ("flows?cursor=nonsense", 404),
        ("events?from=0052-06-26T17:37:22-23:15", 200),  # an offset that PostgreSQL refuses
        ("audit?from=0001-01-01T00:00:00%2B14:00", 422),
        ("environments/a%0Ab", 404),
    ],
)
def test_queries_that_once_failed(acme: Any, api_for: Callable[..., Any], query: str, status: int) -> None:
    answer = api_for(acme).get(f"/api/v2/{query}")
    wanted = "application/json" if status == 200 else "application/problem+json"
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, wanted)


def own_routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> list[str]:
    """Addresses of a tenant's host that this project serves itself; allauth and the admin site guard their own."""
    found = []
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if pattern.app_name != "admin" and "allauth" not in str(pattern.urlconf_name):
                found += own_routes(pattern.url_patterns, address)
        else:
            found.append(address)
    return found


def test_what_is_open_without_signing_in_is_written_down(acme: Any, acme_ids: dict[str, str]) -> None:  # noqa: F811
    nobody = Client(HTTP_HOST="acme.localhost")
    ids = {**acme_ids, "token": "x", "rest": "x"}
    open_doors = set()
    for address in own_routes(get_resolver("config.urls").url_patterns):
        if address.startswith("^"):
            url = "/overview"
        else:
            url = address_of(Route(address, ("get",)), ids)
        answer = nobody.get(url)
        sent_to_sign_in = answer.status_code == 302 and answer.headers["Location"].startswith(f"{LOGIN}?")
        if answer.status_code not in {401, 403, 405} and not sent_to_sign_in:
            open_doors.add(address)
    assert open_doors - OPEN == set()
