"""The pages that the server draws around signing in: they render, in our words, and carry no script of their own."""

from __future__ import annotations

import gettext
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.tenancy.models import Tenant
from tests.conftest import PASSWORD

OPEN_PAGES = [
    ("/accounts/login/", "Sign in"),
    ("/accounts/signup/", "By invitation only"),
    ("/accounts/password/reset/", "Reset your password"),
    ("/accounts/password/reset/done/", "Reset your password"),
]
OWN_PAGES = [
    ("/accounts/2fa/", "Passkeys and security keys"),
    ("/accounts/2fa/webauthn/", "None yet"),
    ("/accounts/password/change/", "New password again"),
    ("/accounts/sessions/", "Where you are signed in"),
    ("/accounts/email/", "Add an address"),
    ("/accounts/logout/", "Sign out"),
]
WORDS = Path(__file__).parents[2] / "config" / "locale" / "en" / "LC_MESSAGES"


def inline_scripts(html: str) -> list[str]:
    """Scripts that a browser would run from the page itself, which the content security policy forbids."""
    return [tag for tag in re.findall(r"<script[^>]*>", html) if "src=" not in tag and "application/json" not in tag]


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "text"), OPEN_PAGES)
def test_open_page_renders_in_our_layout(acme: Tenant, path: str, text: str) -> None:
    html = Client(HTTP_HOST="acme.localhost").get(path).content.decode()

    assert text in html
    assert "portal/tokens.css" in html
    assert not inline_scripts(html)


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "text"), OWN_PAGES)
def test_own_page_renders_in_our_layout(acme: Tenant, user_for: Any, path: str, text: str) -> None:
    user = user_for(acme)
    client = Client(HTTP_HOST="acme.localhost")
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})

    html = client.get(path).content.decode()

    assert text in html
    assert "Acme" in html
    assert not inline_scripts(html)
    assert not re.search(r"<label[^>]*>[^<]*:\s*</label>", html)


@pytest.mark.django_db
def test_wrong_password_says_so_beside_the_form(acme: Tenant, user_for: Any) -> None:
    user = user_for(acme)

    response = Client(HTTP_HOST="acme.localhost").post("/accounts/login/", {"login": user.email, "password": "wrong"})

    assert response.status_code == 200
    assert 'class="note error"' in response.content.decode()


@pytest.mark.django_db
def test_unknown_address_gets_an_error_page(acme: Tenant) -> None:
    response = Client(HTTP_HOST="acme.localhost").get("/nothing/here")

    assert response.status_code == 404
    assert "Page not found" in response.content.decode()


def test_the_compiled_words_are_those_of_the_source() -> None:
    """`django.mo` is what runs; an edit of `django.po` without compiling it would change nothing."""
    source = (WORDS / "django.po").read_text()
    with (WORDS / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    pairs = re.findall(r'^msgid "(.+)"\nmsgstr "(.+)"$', source, flags=re.MULTILINE)
    wrong = [text for text, words in pairs if compiled.gettext(_plain(text)) != _plain(words)]
    assert len(pairs) > 50
    assert not wrong, "run `python manage.py compilemessages`"


def _plain(text: str) -> str:
    return text.replace('\\"', '"')


@pytest.mark.django_db
def test_the_api_page_has_no_script_of_its_own(acme: Tenant) -> None:
    client = Client(HTTP_HOST="acme.localhost")
    page = client.get("/api/v2/docs/")
    script = client.get("/api/v2/docs/?script=")

    assert "swagger-ui" in page.content.decode()
    assert not inline_scripts(page.content.decode())
    assert "<style" not in page.content.decode()
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert "/api/v2/schema/" in script.content.decode()
