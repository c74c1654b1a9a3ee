"""A task in the browser: found in the inbox, answered by its form, delegated; the process goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import ConsoleWatch
from tests.engine.process_factories import process, step, value
from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed, pytest.mark.usefixtures("workers")]

FORM = {
    "type": "object",
    "required": ["approved", "limit"],
    "properties": {
        "approved": {"type": "boolean", "title": "Approved"},
        "limit": {"type": "integer", "title": "Limit", "maximum": 100},
        "grade": {"type": "string", "enum": ["a", "b"], "default": "b"},
    },
}


@pytest.fixture
def ask(api_for: Callable[..., Any], committed_acme: Any, unique: Callable[[str], str]) -> Callable[..., Any]:
    """`ask(person)` starts a process that asks this person; answers the run and the task's title."""
    api = api_for(committed_acme)

    def build(person: Any, **config: Any) -> tuple[str, str]:
        title = unique("Approve")
        given = {"form": FORM, "title": f"'{title}'", "people": f"['{person.email}']", "show": {"total": "12"}}
        definition = process(
            step("ask", "task", config={**given, **config}), value("after"), output={"got": "steps.ask.output.answer"}
        )
        flow = api.post("/api/v2/flows", {"name": unique("Approval"), "draft": definition}, format="json").json()
        request = {"environment": "dev", "version": "draft"}
        started = api.post(f"/api/v2/flows/{flow['id']}/runs", request, format="json")
        assert started.status_code == 202, started.json()
        return started.json()["id"], title

    return build


def test_a_task_is_found_taken_and_answered(
    stack: Stack, committed_acme: Any, visit: Callable[..., Page], user_for: Any, ask: Any, console: ConsoleWatch
) -> None:
    person = user_for(committed_acme, roles=("operator",))
    page = visit(committed_acme, "/tasks", user=person)
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()
    run, title = ask(person)
    page.get_by_role("link", name=title).click()
    expect(page.get_by_text("12", exact=True)).to_be_visible()
    page.get_by_role("button", name="Take it").click()
    expect(page.get_by_role("button", name="Give back")).to_be_visible()

    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_text("Needed.")).to_be_visible()
    page.get_by_label("Approved").check()
    page.get_by_label("Limit").fill("500")
    console.expect("422 .*/api/v2/tasks/.*/answer")
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_role("alert").first).to_be_visible()
    page.get_by_label("Limit").fill("50")
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_text("The process goes on.")).to_be_visible()
    expect(page.locator("header.page-head").get_by_text("Answered", exact=True)).to_be_visible()

    page.goto(stack.url("acme", f"/runs/{run}"))
    expect(page.locator("header.page-head").get_by_text("Succeeded", exact=True)).to_be_visible()
    result = json.loads(page.get_by_label("Result", exact=True).input_value())
    assert result == {"got": {"approved": True, "grade": "b", "limit": 50}}


def test_a_task_is_delegated(
    committed_acme: Any, visit: Callable[..., Page], user_for: Any, ask: Any, unique: Callable[[str], str]
) -> None:
    person, other = (user_for(committed_acme, roles=("admin",)) for _ in range(2))
    _run, title = ask(person)
    page = visit(committed_acme, "/tasks", user=person)
    page.get_by_role("link", name=title).click()
    page.get_by_role("button", name="Delegate").click()
    dialog = page.get_by_role("dialog", name="Let somebody else answer")
    dialog.get_by_label("To").select_option(str(other.pk))
    dialog.get_by_role("button", name="Delegate").click()
    expect(page.get_by_text("It does not wait for you.")).to_be_visible()

    theirs = visit(committed_acme, "/tasks", user=other)
    expect(theirs.get_by_role("link", name=title)).to_be_visible()
