"""Production refuses to start with a missing, short or default key, and passes the deployment check with good ones."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "SECRET_KEY": secrets.token_urlsafe(64),
    "VAULT_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
    "DATABASE_URL": "postgres://portal:secret@127.0.0.1:1/portal",
    "ALLOWED_HOSTS": "portal.example.com,.portal.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://portal.example.com",
    "BASE_DOMAIN": "portal.example.com",
}
DEV_VAULT_KEY = "dev:ZGV2LW9ubHktdmF1bHQta2V5LW9mLTMyLWJ5dGVzISE="


def run_in_production(*arguments: str, changes: dict[str, str | None]) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    env = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "config.settings.prod", **variables}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_good_keys_pass_the_deployment_check() -> None:
    done = run_in_production("manage.py", "check", "--deploy", "--fail-level", "WARNING", changes={})
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # missing
        ({"SECRET_KEY": None}, "SECRET_KEY is missing"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is missing"),
        ({"VAULT_KEYS": None}, "VAULT_KEYS is missing"),
        ({"DATABASE_URL": None}, "DATABASE_URL is missing"),
        ({"ALLOWED_HOSTS": None}, "ALLOWED_HOSTS is missing"),
        # short, or long without being random
        ({"SECRET_KEY": "short"}, "SECRET_KEY is too short"),
        ({"SECRET_KEY": "a" * 80}, "SECRET_KEY is too short or too regular"),
        ({"VAULT_KEYS": "k1:c2hvcnQ="}, "VAULT_KEYS: item 'k1' is not"),
        ({"VAULT_KEYS": "not-a-key"}, "VAULT_KEYS: item 'not-a-key' is not"),
        # the development's own
        ({"SECRET_KEY": "dev-only-secret-key-that-production-refuses-0123456789"}, "is the development key"),
        ({"VAULT_KEYS": DEV_VAULT_KEY}, "VAULT_KEYS holds the development key"),
        ({"VAULT_KEYS": f"{GOOD['VAULT_KEYS']},{DEV_VAULT_KEY}"}, "VAULT_KEYS holds the development key"),
        # open to every host name
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS must not contain"),
    ],
)
def test_production_refuses_to_start_and_says_why(changes: dict[str, str | None], message: str) -> None:
    done = run_in_production("-c", "from django.conf import settings; settings.INSTALLED_APPS", changes=changes)
    assert done.returncode != 0
    assert message in done.stderr
    # A key that is refused is still somebody's key: it does not end up in a log.
    assert "c2hvcnQ=" not in done.stderr
    assert GOOD["SECRET_KEY"] not in done.stderr


def test_production_sends_cookies_and_pages_over_https_only() -> None:
    script = """
import django, json
django.setup()
from django.conf import settings
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory
guard = SecurityMiddleware(lambda request: HttpResponse("ok"))
ask = RequestFactory(SERVER_NAME="portal.example.com")
plain, secure = guard(ask.get("/overview")), guard(ask.get("/overview", HTTP_X_FORWARDED_PROTO="https"))
names = [name for name in dir(settings) if name.startswith(("SESSION_COOKIE", "CSRF_COOKIE"))]
cookies = {name: getattr(settings, name) for name in names}
print(json.dumps([plain.status_code, plain["Location"], secure["Strict-Transport-Security"], cookies], default=str))
"""
    done = run_in_production("-c", script, changes={})
    assert done.returncode == 0, done.stderr
    status, location, transport, cookies = json.loads(done.stdout.splitlines()[-1])

    assert (status, location) == (301, "https://portal.example.com/overview")
    assert transport == "max-age=31536000; includeSubDomains; preload"
    for kind in ("SESSION", "CSRF"):
        assert cookies[f"{kind}_COOKIE_NAME"].startswith(
            "__Host-"
        )  # browsers then insist on Secure, on / and on no domain
        assert cookies[f"{kind}_COOKIE_SECURE"] is True
        assert cookies[f"{kind}_COOKIE_SAMESITE"] == "Lax"
        assert (cookies[f"{kind}_COOKIE_PATH"], cookies[f"{kind}_COOKIE_DOMAIN"]) == ("/", None)
    assert cookies["SESSION_COOKIE_HTTPONLY"] is True
