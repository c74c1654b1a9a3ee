"""A process in the browser: it waits without a worker, goes on when the event comes, and can be cancelled meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from apps.core.ids import uuid7
from tests.engine.process_factories import process, step, value
from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed, pytest.mark.usefixtures("workers")]


@pytest.fixture
def waiting_run(api_for: Callable[..., Any], committed_acme: Any, unique: Callable[[str], str]) -> Any:
    """`waiting_run()` starts a process that waits for an event of a type of the tenant's own; answers type and run."""
    api = api_for(committed_acme)

    def build() -> tuple[str, dict[str, Any]]:
        type_ = f"com.acme.paid-{uuid7().hex}.v1"
        contract = {"type": type_, "schema": {"type": "object"}}
        assert api.post("/api/v2/event-contracts", contract, format="json").status_code == 201
        pay = step("pay", "wait", config={"event": type_, "correlation": "input.invoice"}, name="Payment")
        body = {"name": unique("Dunning"), "draft": process(pay, value("thank"))}
        flow = api.post("/api/v2/flows", body, format="json").json()
        request = {"environment": "dev", "version": "draft", "parameters": {"invoice": 7}}
        started = api.post(f"/api/v2/flows/{flow['id']}/runs", request, format="json")
        assert started.status_code == 202, started.json()
        return type_, started.json()

    return build


def test_a_process_waits_for_its_event_and_goes_on(
    stack: Stack, committed_acme: Any, visit: Callable[..., Page], waiting_run: Any, api_for: Callable[..., Any]
) -> None:
    type_, run = waiting_run()
    page = visit(committed_acme, f"/runs/{run['id']}")
    head = page.get_by_role("main").locator("header.page-head")
    expect(head.get_by_text("Waiting", exact=True)).to_be_visible()
    expect(head.get_by_text("draft, dev, process")).to_be_visible()
    expect(page.get_by_text(f"Payment: Waits for {type_}.")).to_be_visible()
    expect(page.get_by_text("Parked", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Reconciliation")).to_have_count(0)
    expect(page.get_by_text("rows read")).to_have_count(0)

    event = {"id": str(uuid7()), "type": type_, "subject": "invoice/7", "data": {"total": 12}}
    assert api_for(committed_acme).post("/api/v2/events", event, format="json").status_code == 201
    expect(head.get_by_text("Succeeded", exact=True)).to_be_visible()
    expect(page.get_by_text("Parked", exact=True)).to_have_count(0)
    expect(page.get_by_text("The event arrived.")).to_be_visible()


def test_a_waiting_run_is_found_and_cancelled(
    stack: Stack, committed_acme: Any, visit: Callable[..., Page], waiting_run: Any
) -> None:
    _type, run = waiting_run()
    page = visit(committed_acme, f"/runs?status=waiting&flow={run['flow']['id']}")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=run["flow"]["name"]))
    expect(row).to_contain_text("Waiting")
    expect(row).to_contain_text("process · draft")
    page.get_by_role("link", name=run["flow"]["name"]).click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.get_by_role("main").locator("header.page-head").get_by_text("Cancelled", exact=True)).to_be_visible()


def test_a_process_is_made_mended_and_run(stack: Stack, committed_acme: Any, visit: Callable[..., Page]) -> None:
    page = visit(committed_acme, "/flows")
    page.get_by_role("button", name="New process").click()
    page.get_by_role("dialog", name="New process").get_by_label("Name").fill("Greeting")
    page.get_by_role("button", name="Create").click()
    text = page.get_by_label("Definition as JSON")
    expect(page.get_by_text("No problems")).to_be_visible()
    written = text.input_value()

    text.fill(written.replace('"kind": "transform",', '"kind" "transform",'))
    expect(page.get_by_text("A colon is needed here.")).to_be_visible()
    text.press("Control+s")
    expect(page.get_by_text("Not saved.", exact=True)).to_be_visible()

    text.fill(written.replace("input.name", "input.nobody"))
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status").get_by_text("Saved", exact=True)).to_be_visible()
    finding = page.get_by_role("button").filter(has_text="nobody")
    finding.click()
    assert text.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)") == (
        "\"'Hello ' || input.nobody\""
    )

    text.fill(written)
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog", name="Run")
    expect(dialog.get_by_label("Input")).to_have_value('{\n  "name": ""\n}')
    dialog.get_by_label("Input").fill('{"name": "Ada"')
    expect(dialog.get_by_text("This is not JSON")).to_be_visible()
    dialog.get_by_label("Input").fill('{"name": "Ada"}')
    dialog.get_by_role("button", name="Start").click()
    head = page.get_by_role("main").locator("header.page-head")
    expect(head.get_by_text("Succeeded", exact=True)).to_be_visible()
    expect(page.get_by_label("Input", exact=True)).to_have_value('{\n  "name": "Ada"\n}')
    expect(page.get_by_label("Result", exact=True)).to_have_value('{\n  "greeting": "Hello Ada"\n}')
    page.get_by_label("Data of greet").click()
    expect(page.get_by_label("Output of greet")).to_have_value('{\n  "greeting": "Hello Ada"\n}')


def test_a_paused_process_says_so_and_goes_on(
    committed_acme: Any, visit: Callable[..., Page], api_for: Callable[..., Any], unique: Callable[[str], str]
) -> None:
    body = {"name": unique("Held"), "draft": process(value("a"))}
    flow = api_for(committed_acme).post("/api/v2/flows", body, format="json").json()
    page = visit(committed_acme, f"/flows/{flow['id']}")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Pause").click()
    page.get_by_label("Reason").fill("month end")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text("The flow is paused.")).to_be_visible()
    expect(page.get_by_text("month end")).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Resume").click()
    expect(page.get_by_text("The flow is paused.")).to_have_count(0)
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()


def test_what_could_not_be_undone_is_shown_and_tried_again(
    committed_acme: Any, visit: Callable[..., Page], api_for: Callable[..., Any], unique: Callable[[str], str]
) -> None:
    api = api_for(committed_acme)
    type_ = f"com.acme.undone-{uuid7().hex}.v1"
    contract = {"type": type_, "schema": {"type": "object", "required": ["why"]}}
    made = api.post("/api/v2/event-contracts", contract, format="json").json()
    fix = step("fix", "publish", config={"event": type_, "data": {"n": "1"}})
    stop = step("stop", "raise", config={"message": "'no'"})
    body = {"name": unique("Undone"), "draft": process(value("book", {"compensation": fix}), stop)}
    flow = api.post("/api/v2/flows", body, format="json").json()
    started = api.post(f"/api/v2/flows/{flow['id']}/runs", {"environment": "dev", "version": "draft"}, format="json")
    page = visit(committed_acme, f"/runs/{started.json()['id']}")
    expect(page.get_by_text("Undone: 0 of 1. Left: book")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    expect(page.get_by_text("undoing", exact=True)).to_be_visible()

    version = {"schema": {"type": "object"}, "accept_breaking": True}
    assert api.post(f"/api/v2/event-contracts/{made['id']}/versions", version, format="json").status_code == 201
    page.get_by_role("button", name="Undo the rest").click()
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(page.get_by_text("Completed steps were undone: 1 of 1.")).to_be_visible()
