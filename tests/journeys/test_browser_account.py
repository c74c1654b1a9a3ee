"""Pages that the server draws, in a real browser: passkeys, the API page and the admin site obey the strict policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import find_violations, horizontal_overflow, sign_in
from tests.conftest import PASSWORD
from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed]

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def test_a_passkey_is_added_and_signs_in(
    stack: Stack, committed_acme: Any, user_for: Callable[..., Any], open_page: Callable[..., Page]
) -> None:
    user = user_for(committed_acme)
    page = open_page(size="narrow", color_scheme="dark")
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})

    sign_in(page, stack.url("acme", ""), user.email, PASSWORD)
    page.goto(stack.url("acme", "/accounts/2fa/webauthn/add/"))
    page.get_by_label("Password", exact=True).fill(PASSWORD)  # asked once more, because it changes how one signs in
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Name").fill("My phone")
    page.get_by_label("Sign in with it instead of a password").check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Security key added.")).to_be_visible()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()  # they come with the first key
    assert not find_violations(page)
    assert horizontal_overflow(page) == 0

    page.context.clear_cookies()
    page.goto(stack.url("acme", "/accounts/login/"))
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/overview")


def test_the_api_page_works(stack: Stack, committed_acme: Any, visit: Callable[..., Page]) -> None:
    page = visit(committed_acme, "/overview")
    page.goto(stack.url("acme", "/api/v2/docs/"))
    operation = page.get_by_role("button", name="GET /api/v2/me", exact=True)
    page.locator(".opblock").first.wait_for()
    # The page draws operations as they come into view.
    for _ in range(100):
        if operation.count():
            break
        page.mouse.wheel(0, 600)
        page.wait_for_timeout(100)
    operation.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table").get_by_text("Acme").first).to_be_visible()


def test_the_admin_site_keeps_to_the_policy(stack: Stack, committed_acme: Any, visit: Callable[..., Page]) -> None:
    page = visit(committed_acme, "/overview")
    for path in ("", "access/user/", "access/role/add/", "access/invitation/add/", "audit/auditentry/"):
        page.goto(stack.url("acme", f"/admin/{path}"))
        expect(page.locator("#site-name")).to_be_visible()
