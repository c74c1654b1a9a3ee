"""Triggers in the browser: a schedule is made with its next firings in sight, changed, paused, resumed and deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from apps.engine.services.triggers.firing import fire_due
from apps.tenancy.services.context import tenant_context
from tests.browser import ConsoleWatch, find_violations, horizontal_overflow
from tests.engine.trigger_factories import deployed, make_overdue, schedule
from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed, pytest.mark.usefixtures("workers")]


@pytest.fixture
def flow(committed_acme: Any, unique: Callable[[str], str]) -> Any:
    """A deployed process of acme."""
    with tenant_context(committed_acme):
        return deployed(name=unique("Nightly close"))


def test_a_schedule_is_made_paused_and_resumed(
    committed_acme: Any, visit: Callable[..., Page], flow: Any, unique: Callable[[str], str], console: ConsoleWatch
) -> None:
    name = unique("weekdays")
    page = visit(committed_acme, f"/flows/{flow.pk}", roles=("operator",), timezone_id="Europe/Berlin")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Triggers of this flow").click()
    page.get_by_role("button", name="New trigger").first.click()
    form = page.get_by_role("dialog", name="New trigger")
    form.get_by_label("Name").fill(name)
    expect(form.get_by_label("Flow")).to_have_value(str(flow.pk))
    form.get_by_label("Cron").fill("61 * * * *")
    expect(form.get_by_role("alert").first).to_contain_text("minute")
    form.get_by_label("Cron").fill("30 6 * * 1-5")
    form.get_by_label("Time zone").fill("Asia/Tokyo")
    preview = form.get_by_role("status", name="Preview")
    expect(preview.get_by_text("06:30").first).to_be_visible()
    expect(preview.get_by_role("listitem")).to_have_count(5)
    expect(preview.get_by_text("Asia/Tokyo")).to_be_visible()
    form.get_by_role("button", name="Add an input").click()
    form.get_by_label("Input 1").fill("day")
    form.get_by_label("Expression 1").fill("nowhere + 1")
    expect(form.get_by_role("alert").first).to_contain_text("nowhere")
    form.get_by_label("Expression 1").fill("due_local")
    expect(form.get_by_role("alert")).to_have_count(0)
    form.get_by_role("button", name="Create").click()

    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_role("list", name="Next firings").get_by_role("listitem")).to_have_count(5)
    page.get_by_role("button", name="Pause").click()
    asked = page.get_by_role("dialog", name=f"Pause {name}?")
    asked.get_by_label("Why").fill("month end")
    asked.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("The trigger is paused.")).to_be_visible()
    expect(page.get_by_text("month end")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("The trigger is paused.")).to_be_hidden()
    expect(page.get_by_role("list", name="Next firings").get_by_role("listitem")).to_have_count(5)

    page.get_by_role("link", name="Triggers").last.click()
    page.get_by_role("searchbox", name="Search triggers").fill(name)
    page.wait_for_url("**search=**")
    rows = page.get_by_role("table", name="Triggers")
    expect(rows.locator("tbody tr")).to_have_count(1)
    rows.get_by_role("button", name=f"Next firings of {name}").click()
    expect(rows.get_by_role("list").get_by_role("listitem")).to_have_count(5)
    rows.get_by_role("button", name=f"Actions of {name}").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No trigger matches")).to_be_visible()


def test_an_event_trigger_is_made(
    committed_acme: Any, visit: Callable[..., Page], flow: Any, unique: Callable[[str], str]
) -> None:
    name = unique("on failure")
    page = visit(committed_acme, f"/triggers?flow={flow.pk}&create=1")
    form = page.get_by_role("dialog", name="New trigger")
    form.get_by_role("tab", name="Event").click()
    form.get_by_label("Name").fill(name)
    form.get_by_label("Add a type").select_option(label="run.failed.v1")
    form.get_by_label("Only when").fill("data->>'flow_name'")
    expect(form.get_by_role("alert").first).to_contain_text("true or false")
    form.get_by_label("Only when").fill("data->>'flow_name' = 'none'")
    expect(form.get_by_role("alert")).to_have_count(0)
    form.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("It has not fired yet")).to_be_visible()


def test_firings_say_what_came_of_them_and_appear_live(
    stack: Stack, committed_acme: Any, visit: Callable[..., Page], flow: Any, unique: Callable[[str], str]
) -> None:
    with tenant_context(committed_acme):
        trigger = schedule(flow, name=unique("hourly"), catch_up="once")
    page = visit(committed_acme, f"/triggers/{trigger.pk}", roles=("viewer",), size="narrow")
    expect(page.get_by_text("It has not fired yet")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    with tenant_context(committed_acme):
        make_overdue(trigger, 5)
        fire_due()
    firings = page.get_by_role("table", name="Firings")
    expect(firings.get_by_text("Started").first).to_be_visible()
    expect(firings.get_by_text("passed while nothing could fire").first).to_be_visible()
    assert horizontal_overflow(page) == 0
    assert find_violations(page) == []
    page.get_by_role("tab", name="Left out").click()
    expect(firings.get_by_role("link", name="Open the run")).to_have_count(0)
    page.get_by_role("tab", name="Started").click()
    firings.get_by_role("link", name="Open the run").first.click()
    expect(page.get_by_role("heading", name=flow.name)).to_be_visible()


def test_another_tenants_trigger_is_not_found(
    committed_acme: Any, committed_globex: Any, visit: Callable[..., Page], flow: Any, console: ConsoleWatch
) -> None:
    with tenant_context(committed_acme):
        trigger = schedule(flow)
    console.expect("404 .*/api/v2/triggers/")
    page = visit(committed_globex, f"/triggers/{trigger.pk}")
    expect(page.get_by_text("Not found")).to_be_visible()
