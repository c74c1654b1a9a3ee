"""The editor keeps what people typed: undo, two people on one draft, a server that is away. And the first steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import ConsoleWatch
from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed]


def _type_expression(page: Page, field: str, text: str) -> None:
    page.get_by_label(f"Expression for {field}").fill(text)
    page.keyboard.press("Escape")


def _expect_saved(page: Page) -> None:
    expect(page.get_by_role("status").get_by_text("Saved", exact=True)).to_be_visible()


def test_undo_and_redo_walk_through_the_edits(
    committed_acme: Any,
    visit: Callable[..., Page],
    new_flow: Callable[..., dict[str, Any]],
    api_for: Callable[..., Any],
) -> None:
    flow = new_flow("undone")
    page = visit(committed_acme, f"/flows/{flow['id']}")
    undo, redo = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Redo")
    number = page.get_by_label("Expression for number")
    expect(undo).to_be_disabled()
    _type_expression(page, "number", "upper(number)")
    page.get_by_role("button", name="More for currency").click()
    page.get_by_role("menuitem", name="Remove").click()
    expect(page.get_by_label("Expression for currency")).to_have_count(0)

    page.keyboard.press("Control+z")
    expect(page.get_by_label("Expression for currency")).to_have_value("currency")
    expect(number).to_have_value("upper(number)")
    undo.click()
    expect(number).to_have_value("number")
    expect(undo).to_be_disabled()
    page.keyboard.press("Control+Shift+z")
    expect(number).to_have_value("upper(number)")
    redo.click()
    expect(page.get_by_label("Expression for currency")).to_have_count(0)
    expect(redo).to_be_disabled()
    undo.click()

    _expect_saved(page)
    page.reload()
    expect(number).to_have_value("upper(number)")
    expect(page.get_by_label("Expression for currency")).to_have_value("currency")
    stored = api_for(committed_acme).get(f"/api/v2/flows/{flow['id']}").json()["draft"]["nodes"][1]["config"]
    assert [field["target"] for field in stored["fields"]] == ["id", "number", "currency", "issued_on", "total"]


def test_second_editor_learns_of_the_conflict_and_loses_nothing(
    committed_acme: Any,
    visit: Callable[..., Page],
    new_flow: Callable[..., dict[str, Any]],
    console: ConsoleWatch,
) -> None:
    console.expect(r"status of 409 .*/api/v2/flows/")
    path = f"/flows/{new_flow('shared')['id']}"
    first, second = visit(committed_acme, path), visit(committed_acme, path)
    for page in (first, second):
        expect(page.get_by_label("Expression for number")).to_have_value("number")

    _type_expression(first, "number", "trim(number)")
    _expect_saved(first)
    _type_expression(second, "currency", "upper(currency)")
    expect(second.get_by_text("Somebody else changed this draft.")).to_be_visible()
    expect(second.get_by_label("Expression for currency")).to_have_value("upper(currency)")
    second.get_by_role("button", name="Take theirs").click()
    expect(second.get_by_label("Expression for number")).to_have_value("trim(number)")
    expect(second.get_by_label("Expression for currency")).to_have_value("currency")

    _type_expression(second, "currency", "lower(currency)")
    _expect_saved(second)
    _type_expression(first, "id", "id + 0")
    expect(first.get_by_text("Somebody else changed this draft.")).to_be_visible()
    first.get_by_role("button", name="Keep mine").click()
    _expect_saved(first)
    first.reload()
    expect(first.get_by_label("Expression for id")).to_have_value("id + 0")
    expect(first.get_by_label("Expression for currency")).to_have_value("currency")


def test_edits_survive_a_server_that_is_away(
    committed_acme: Any,
    visit: Callable[..., Page],
    new_flow: Callable[..., dict[str, Any]],
    console: ConsoleWatch,
) -> None:
    console.expect("ERR_FAILED|ERR_INTERNET_DISCONNECTED|WebSocket")
    flow = new_flow("offline")
    page = visit(committed_acme, f"/flows/{flow['id']}")
    number = page.get_by_label("Expression for number")
    expect(number).to_have_value("number")
    _expect_saved(page)

    page.route(re.compile("/api/v2/"), lambda route: route.abort())
    _type_expression(page, "number", "upper(number)")
    expect(page.get_by_text("Not saved", exact=True)).to_be_visible()
    expect(number).to_have_value("upper(number)")
    page.unroute_all()
    page.get_by_role("button", name="Save again").click()
    _expect_saved(page)
    page.reload()
    expect(number).to_have_value("upper(number)")


def test_empty_tenant_is_led_to_its_first_run(stack: Stack, visit: Callable[..., Page], committed_db: None) -> None:
    from apps.access.contracts import Actor
    from apps.tenancy.services.tenants import provision_tenant

    initech = provision_tenant("initech", "Initech", domains=["initech.localhost"], actor=Actor.system("tests"))
    page = visit(initech, "/overview")
    steps = page.locator("section.card").filter(has=page.get_by_role("heading", name="Getting started"))
    expect(steps.get_by_role("listitem")).to_have_count(3)
    expect(steps.get_by_text("Done")).to_have_count(0)
    expect(page.get_by_role("heading", name="Nothing has run yet")).to_be_visible()

    for path, heading in (
        ("/flows", "No flow yet"),
        ("/runs", "Nothing has run yet"),
        ("/quarantine", "Nothing is held back"),
        ("/settings/api-keys", "No key yet"),
    ):
        page.goto(stack.url("initech", path))
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    page.goto(stack.url("initech", "/connections"))
    expect(page.get_by_role("table", name="Connections").get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("table", name="Connections")).to_contain_text("built in")

    page.goto(stack.url("initech", "/overview"))
    steps.get_by_role("link", name="New flow").click()
    expect(page.get_by_role("dialog", name="New flow")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Overview").click()
    steps.get_by_role("link", name="New connection").click()
    expect(page.get_by_role("button", name=re.compile("^PostgreSQL"))).to_be_visible()
