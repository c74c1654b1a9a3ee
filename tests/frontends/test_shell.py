"""The shell page: who gets it, what it carries, and what its headers forbid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from apps.tenancy.models import Tenant
from tests.frontends.factories import HASH, manifest

REPORT_URL = "/api/v2/frontends/reports"


@pytest.fixture
def built(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """A folder of static files with a build in it."""
    path = tmp_path / "mfe" / "manifest.json"
    path.parent.mkdir()
    path.write_text(json.dumps(manifest()))
    settings.STATICFILES_DIRS = [tmp_path]
    finders.get_finder.cache_clear()
    yield path
    finders.get_finder.cache_clear()


def script(html: str, attribute: str) -> Any:
    """The JSON inside the script element with that attribute."""
    found = re.search(rf"<script[^>]*{attribute}[^>]*>(.*?)</script>", html, re.DOTALL)
    assert found, attribute
    return json.loads(found.group(1))


@pytest.mark.django_db
def test_shell_asks_strangers_to_sign_in(acme: Tenant, built: Path) -> None:
    response = Client(HTTP_HOST="acme.localhost").get("/flows/1?tab=load")

    assert response.status_code == 302
    assert response["Location"] == "/accounts/login/?next=/flows/1%3Ftab%3Dload"


@pytest.mark.django_db
def test_shell_carries_one_import_map_with_nonce_and_hashes(acme: Tenant, built: Path, client_for: Any) -> None:
    response = client_for(acme).get("/overview")
    html = response.content.decode()
    nonce = re.search(r"'nonce-([^']+)'", response["Content-Security-Policy"])

    assert nonce
    assert html.count('type="importmap"') == 1
    assert html.count(f'nonce="{nonce.group(1)}"') >= 2
    assert script(html, 'type="importmap"')["integrity"]["/static/mfe/remotes/flows-lazy-0001.js"] == HASH
    assert f'src="/static/mfe/shell/shell-0001.js" integrity="{HASH}"' in html


@pytest.mark.django_db
def test_policy_allows_no_inline_or_evaluated_script(acme: Tenant, built: Path, client_for: Any) -> None:
    policy = client_for(acme).get("/overview")["Content-Security-Policy"]
    scripts = next(part for part in policy.split(";") if part.strip().startswith("script-src"))

    assert "unsafe" not in scripts
    assert "object-src 'none'" in policy


@pytest.mark.django_db
def test_bootstrap_tells_who_where_and_what(acme: Tenant, built: Path, client_for: Any) -> None:
    client = client_for(acme, permissions=("run:view",))

    bootstrap = script(client.get("/runs").content.decode(), 'id="portal-bootstrap"')

    assert bootstrap["tenant"]["slug"] == "acme"
    assert bootstrap["user"]["email"] == client.user.email
    assert bootstrap["permissions"] == ["run:view"]
    assert [remote["id"] for remote in bootstrap["remotes"]] == ["overview"]
    assert bootstrap["withheld"] == [{"name": "Flows", "routes": ["/flows"]}]


@pytest.mark.django_db
def test_each_tenant_gets_its_own_bootstrap(acme: Tenant, globex: Tenant, built: Path, client_for: Any) -> None:
    names = [
        script(client_for(tenant).get("/overview").content.decode(), 'id="portal-bootstrap"')["tenant"]["slug"]
        for tenant in (acme, globex)
    ]

    assert names == ["acme", "globex"]


@pytest.mark.django_db
def test_a_name_cannot_break_out_of_its_script(acme: Tenant, built: Path, client_for: Any, user_for: Any) -> None:
    user = user_for(acme)
    user.name = "</script><script>alert(1)</script>"
    from apps.tenancy.services.context import tenant_context

    with tenant_context(acme):
        user.save()

    html = client_for(acme, user=user).get("/overview").content.decode()

    assert "<script>alert(1)" not in html
    assert script(html, 'id="portal-bootstrap"')["user"]["name"] == user.name


@pytest.mark.django_db
def test_shell_is_never_stored_by_caches(acme: Tenant, built: Path, client_for: Any) -> None:
    assert "no-store" in client_for(acme).get("/overview")["Cache-Control"]


@pytest.mark.django_db
def test_without_a_build_the_page_says_what_to_do(acme: Tenant, built: Path, client_for: Any) -> None:
    built.unlink()

    response = client_for(acme).get("/overview")

    assert response.status_code == 503
    assert "npm run build" in response.content.decode()


REPORT = {
    "report_id": "0a1b2c3d",
    "remote": "flows",
    "phase": "mount",
    "message": "Flows did not start in time.",
    "stack": None,
    "release": "r1",
    "path": "/flows",
}


@pytest.mark.django_db
def test_a_failed_remote_can_be_reported_by_people_only(acme: Tenant, api_for: Any) -> None:
    assert api_for(acme, roles=("viewer",)).post(REPORT_URL, REPORT, format="json").status_code == 204
    assert Client(HTTP_HOST="acme.localhost").post(REPORT_URL, REPORT, "application/json").status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"report_id": "x"},  # not an id of ours
        {"phase": "dream"},
        {"message": "a" * 2001},
        {"stack": "a" * 8001},
    ],
)
def test_nonsense_reports_are_refused(acme: Tenant, api_for: Any, change: dict[str, Any]) -> None:
    response = api_for(acme).post(REPORT_URL, {**REPORT, **change}, format="json")

    assert response.status_code == 422
    assert response["Content-Type"] == "application/problem+json"
