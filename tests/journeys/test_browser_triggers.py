"""Triggers and deadlines in the browser: made, tried, paused, resumed, deleted; what came of them appears live."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db.models.functions import Now
from playwright.sync_api import Page, expect

from apps.engine.models import PollState, Run, Trigger
from apps.engine.services.runs import StartRequest, start_run
from apps.engine.services.triggers.firing import fire_due
from apps.tenancy.services.context import tenant_context
from tests.browser import ConsoleWatch, find_violations, horizontal_overflow
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import process, step, value
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


@pytest.mark.slow
def test_a_poll_is_made_and_new_rows_start_a_run(
    committed_acme: Any,
    visit: Callable[..., Page],
    source_database: Callable[[str], dict[str, Any]],
    api_for: Callable[..., Any],
    unique: Callable[[str], str],
) -> None:
    """The whole way: the form, the sweeper's ring, a worker's look, the run with the rows."""
    source = source_database(
        "CREATE TABLE orders (id bigint PRIMARY KEY, total numeric); INSERT INTO orders VALUES (1, 5)"
    )
    connection = api_for(committed_acme).post(
        "/api/v2/connections", {"name": unique("Shop"), "connector": "postgresql", **source}, format="json"
    )
    assert connection.status_code == 201, connection.json()
    with tenant_context(committed_acme):
        rows = {"name": "rows", "type": "JSON"}
        flow = deployed(process(value("n", n="json_array_length(input.rows)"), input=[rows]), name=unique("Orders"))
    name = unique("new orders")
    page = visit(committed_acme, f"/triggers?flow={flow.pk}&create=1", roles=("admin",))
    form = page.get_by_role("dialog", name="New trigger")
    form.get_by_role("tab", name="Poll").click()
    form.get_by_label("Name").fill(name)
    form.get_by_label("Connection").select_option(label=connection.json()["name"])
    form.get_by_label("Seconds").fill("5")
    expect(form.get_by_role("alert").first).to_contain_text("10")
    form.get_by_label("Seconds").fill("3600")
    form.get_by_label("Entity", exact=True).fill("public.orders")
    form.get_by_label("Cursor").fill("id")
    expect(form.get_by_role("alert")).to_have_count(0)
    assert find_violations(page) == []
    form.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    with tenant_context(committed_acme):
        trigger = Trigger.objects.get(name=name)
        deadline = time.monotonic() + 60
        while PollState.objects.get(trigger=trigger).position is None:
            assert time.monotonic() < deadline, "nobody looked"
            time.sleep(0.2)
        config = source["config"]
        address = {"host": config["host"], "port": config["port"], "dbname": config["database"], "user": config["user"]}
        with psycopg.connect(**address, password=source["secrets"]["password"], autocommit=True) as shop:
            shop.execute("INSERT INTO orders VALUES (2, 7), (3, 8)")
        Trigger.objects.filter(pk=trigger.pk).update(next_due_at=Now())
    firings = page.get_by_role("table", name="Firings")
    expect(firings.get_by_text("Started")).to_be_visible()
    firings.get_by_role("link", name="Open the run").click()
    expect(page.locator("header.page-head").get_by_text("Succeeded", exact=True)).to_be_visible()
    given = json.loads(page.get_by_label("Input", exact=True).input_value())
    assert [row["id"] for row in given["rows"]] == [2, 3]


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
    page.get_by_label("Result", exact=True).select_option(label="Left out")
    expect(firings.get_by_role("link", name="Open the run")).to_have_count(0)
    page.get_by_label("Result", exact=True).select_option(label="Started")
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


@pytest.mark.slow
def test_a_deadline_is_set_and_a_late_run_says_so(
    stack: Stack,
    committed_acme: Any,
    visit: Callable[..., Page],
    unique: Callable[[str], str],
    console: ConsoleWatch,
) -> None:
    with tenant_context(committed_acme):
        flow = deployed(process(step("pay", "wait", config={"event": "never"})), name=unique("Close"))
    page = visit(committed_acme, f"/flows/{flow.pk}", roles=("operator",))
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Deadline of runs").click()
    dialog = page.get_by_role("dialog", name="Deadline of runs")
    expect(dialog.get_by_label("Environment")).to_have_value("dev")
    dialog.get_by_label("Finished within").fill("1")
    dialog.get_by_label("Unit").select_option(label="hours")
    dialog.get_by_label("Finished by").fill("06:00")
    dialog.get_by_label("Time zone").fill("Nowhere/Land")
    console.expect("422 .*/slas/dev")
    dialog.get_by_role("button", name="Store").click()
    expect(dialog.get_by_role("alert").first).to_contain_text("no time zone")
    assert find_violations(page) == []
    dialog.get_by_label("Time zone").fill("Europe/Zurich")
    dialog.get_by_role("button", name="Sun").click()
    dialog.get_by_role("button", name="Store").click()
    expect(dialog).to_be_hidden()
    with tenant_context(committed_acme):
        run = start_run(StartRequest(flow.pk, "dev"), actor=SYSTEM)
        assert Run.objects.get(pk=run.pk).sla_due_at is not None
    page.goto(stack.url("acme", f"/runs?flow={flow.pk}"))
    table = page.get_by_role("table", name="Runs")
    expect(table.locator("tbody tr")).to_have_count(1)
    expect(table.get_by_text("Deadline missed")).to_have_count(0)
    with tenant_context(committed_acme):
        Run.objects.filter(pk=run.pk).update(sla_due_at=Now() - timedelta(seconds=1))
    expect(table.get_by_text("Deadline missed")).to_be_visible()
    page.get_by_label("Deadline", exact=True).select_option(label="Still in time")
    expect(page.get_by_text("No run matches")).to_be_visible()
    page.get_by_label("Deadline", exact=True).select_option(label="Missed")
    table.get_by_role("link", name=flow.name).click()
    expect(page.locator("header.page-head").get_by_text("Deadline missed")).to_be_visible()
