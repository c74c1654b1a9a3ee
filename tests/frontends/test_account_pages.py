"""The pages that the server draws around signing in: they render, and carry no script of their own."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.tenancy.models import Tenant
from tests.conftest import PASSWORD

OPEN_PAGES = [
    ("/accounts/login/", "Sign in"),
    ("/accounts/signup/", "By invitation only"),
    ("/accounts/password/reset/", "Password Reset"),
    ("/accounts/password/reset/done/", "Password Reset"),
]
OWN_PAGES = [
    ("/accounts/2fa/", "Two-Factor Authentication"),
    ("/accounts/password/change/", "Change Password"),
    ("/accounts/sessions/", "Where you are signed in"),
    ("/accounts/logout/", "Sign Out"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "text"), OPEN_PAGES)
def test_open_page_renders_in_our_layout(acme: Tenant, path: str, text: str) -> None:
    html = Client(HTTP_HOST="acme.localhost").get(path).content.decode()

    assert text in html
    assert "portal/tokens.css" in html
    assert "<script" not in html


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "text"), OWN_PAGES)
def test_own_page_renders_in_our_layout(acme: Tenant, user_for: Any, path: str, text: str) -> None:
    user = user_for(acme)
    client = Client(HTTP_HOST="acme.localhost")
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})

    html = client.get(path).content.decode()

    assert text in html
    assert "Acme" in html


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
