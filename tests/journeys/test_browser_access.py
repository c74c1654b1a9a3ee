"""What people may not see or do: other tenants' pages, and actions that their roles leave out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from tests.browser import ConsoleWatch
from tests.journeys.conftest import Ledger, Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed]


def test_other_tenants_pages_are_not_found(
    stack: Stack, ledger: Ledger, committed_globex: Any, visit: Callable[..., Page], console: ConsoleWatch
) -> None:
    console.expect(r"status of 404 .*/api/v2/")
    page = visit(committed_globex, "/overview")
    for path in ledger.paths.values():
        page.goto(stack.url("globex", path))
        expect(page.get_by_role("heading", name="Not found")).to_be_visible()
        expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        assert "ledger" not in page.get_by_role("main").inner_text().lower()
    page.goto(stack.url("globex", f"/runs?flow={ledger.flow['id']}"))
    expect(page.get_by_text("No run matches")).to_be_visible()
    page.goto(stack.url("globex", f"/quarantine?run={ledger.run['id']}"))
    expect(page.get_by_text("No row matches")).to_be_visible()
    page.goto(stack.url("globex", "/settings/no-such-page"))
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


def test_session_of_one_tenant_is_nobody_on_another_ones_host(
    stack: Stack,
    ledger: Ledger,
    committed_acme: Any,
    client_for: Callable[..., Any],
    open_page: Callable[..., Page],
    console: ConsoleWatch,
) -> None:
    console.expect(r"status of 40[13] .*/api/v2/flows")
    session = client_for(committed_acme).cookies[settings.SESSION_COOKIE_NAME].value
    page = open_page()
    for slug in ("acme", "globex"):
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session, "url": stack.url(slug, "")}
        page.context.add_cookies([cookie])  # type: ignore[list-item]

    page.goto(stack.url("acme", ledger.paths["flow"]))
    expect(page.get_by_role("heading", name=ledger.flow["name"])).to_be_visible()
    page.goto(stack.url("globex", ledger.paths["flow"]))
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next="))
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    assert page.evaluate("fetch('/api/v2/flows').then((answer) => answer.status)") in (401, 403)


def test_viewer_looks_and_changes_nothing(
    stack: Stack, ledger: Ledger, committed_acme: Any, visit: Callable[..., Page]
) -> None:
    page = visit(committed_acme, ledger.paths["flow"], roles=("viewer",))
    expect(page.get_by_text("You may look, not change")).to_be_visible()
    expect(page.get_by_label("Expression for total")).to_be_disabled()
    expect(page.get_by_label("Target field 1")).to_be_disabled()
    for name in ("Publish", "Deploy", "Run", "Suggest", "Add", "Undo"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    page.get_by_role("button", name="More", exact=True).click()
    looks = ["Runs of this flow", "Triggers of this flow", "Deadline of runs"]
    expect(page.get_by_role("menuitem")).to_have_text(looks)
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Rules").click()
    expect(page.get_by_label("Message of positive_total")).to_be_disabled()
    expect(page.get_by_role("button", name="Add a rule")).to_have_count(0)

    for path, shown, absent in (
        ("/flows?create=1", ledger.flow["name"], "New flow"),
        ("/connections", ledger.connection["name"], "New connection"),
        (ledger.paths["run"], "Succeeded", "Retry"),
    ):
        page.goto(stack.url("acme", path))
        expect(page.get_by_role("main").get_by_text(shown).first).to_be_visible()
        expect(page.get_by_role("button", name=absent)).to_have_count(0)
        expect(page.get_by_role("link", name=absent)).to_have_count(0)
        expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto(stack.url("acme", ledger.paths["connection"]))
    expect(page.get_by_text("You may not look into this connection")).to_be_visible()
    page.goto(stack.url("acme", "/connections/new?connector=postgresql"))
    expect(page.get_by_role("heading", name="You may not create connections")).to_be_visible()
    expect(page.get_by_role("textbox")).to_have_count(0)

    page.goto(stack.url("acme", f"/quarantine?run={ledger.run['id']}"))
    expect(page.get_by_role("checkbox")).to_have_count(0)
    page.get_by_role("table", name="Quarantined rows").get_by_role("button").first.click()
    drawer = page.get_by_role("dialog", name="Quarantined row")
    expect(drawer.get_by_role("heading", name="Source values")).to_be_visible()
    expect(drawer.get_by_role("textbox")).to_have_count(0)


def test_person_without_a_permission_is_refused_kindly(
    stack: Stack,
    ledger: Ledger,
    committed_acme: Any,
    user_for: Callable[..., Any],
    visit: Callable[..., Page],
    console: ConsoleWatch,
) -> None:
    console.expect(r"status of 403 .*/api/v2/")
    page = visit(committed_acme, "/overview", user=user_for(committed_acme, permissions=("connection:view",)))
    navigation = page.get_by_role("navigation", name="Main")
    expect(navigation.get_by_role("link", name="Connections")).to_be_visible()
    for name in ("Flows", "Runs", "Quarantine"):
        expect(navigation.get_by_role("link", name=name)).to_have_count(0)
    for path in ("/flows", ledger.paths["flow"], "/runs", ledger.paths["run"], "/quarantine", "/settings/audit"):
        page.goto(stack.url("acme", path))
        expect(page.get_by_role("heading", name="You may not see this").first).to_be_visible()
        expect(page.get_by_role("main")).to_contain_text("Ask an administrator of your organisation")
