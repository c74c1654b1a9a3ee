"""The portal's main job, as a newcomer does it: from a wrong password to a replayed row in the warehouse."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from apps.tenancy.services.context import tenant_context
from tests.browser import ConsoleWatch, sign_in
from tests.conftest import PASSWORD
from tests.journeys.conftest import Stack
from tests.journeys.ledger import BAD_NUMBER, GOOD_ROWS, ROWS, RULES, SCRIPT

pytestmark = [pytest.mark.browser, pytest.mark.committed]

# The two planted rows: their net and tax were changed, or never reach the target.
GOOD_TOTAL = sum((Decimal("120.12") * n for n in range(1, ROWS + 1) if n not in (7, 31)), Decimal())
CORRECTED_TOTAL = GOOD_TOTAL + Decimal("840.84")


def _go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()


def _connect(page: Page, source: dict[str, Any], name: str) -> None:
    """The wizard: refused with wrong credentials, tested, saved."""
    _go(page, "Connections")
    page.get_by_role("link", name="New connection").click()
    page.get_by_role("button", name=re.compile("^PostgreSQL")).click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Test", exact=True).first.click()
    expect(page.get_by_role("alert").filter(has_text="needed").first).to_be_visible()
    config = source["config"]
    for label, value in (("Host", config["host"]), ("Port", str(config["port"])), ("Database", config["database"])):
        page.get_by_label(re.compile(f"^{label}")).fill(value)
    user, password = page.get_by_label("User", exact=True), page.get_by_label(re.compile("^Password"))
    user.fill("nobody_of_that_name")
    password.fill("wrong")
    page.get_by_role("button", name="Test", exact=True).first.click()

    refusal = page.get_by_role("alert").filter(has_text="refused the log-in of nobody_of_that_name")
    expect(refusal).to_contain_text("Enter the user name and password again")
    expect(page.get_by_label("Name")).to_have_value(name)
    expect(page.get_by_label("Database", exact=True)).to_have_value(config["database"])
    expect(password).to_have_value("wrong")
    assert password.get_attribute("type") == "password"

    user.fill(config["user"])
    password.fill(source["secrets"]["password"])
    page.get_by_role("button", name="Test", exact=True).first.click()
    expect(page.get_by_text("The connection works.")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(re.compile(r"/connections/[0-9a-f-]{36}"))


def _browse(page: Page) -> None:
    """Entities, sample rows, columns."""
    page.get_by_label("Search tables and files").fill("invo")
    expect(page.get_by_role("button", name=re.compile("customers"))).to_have_count(0)
    page.get_by_role("button", name=re.compile("invoices")).click()
    rows = page.get_by_role("region", name=re.compile("Sample rows"))
    expect(rows.get_by_role("cell", name="INV-0001")).to_be_visible()
    expect(rows.get_by_role("row", name=re.compile("INV-0003"))).to_contain_text("360.36")
    page.get_by_role("tab", name="Columns").click()
    expect(page.get_by_role("row", name=re.compile("^id ")).get_by_text("key", exact=True)).to_be_visible()


def _map(page: Page, target: str) -> None:
    """A new flow with the suggested mapping; an expression is broken, shown, and mended."""
    page.get_by_role("link", name="New flow from it").click()
    dialog = page.get_by_role("dialog", name="New flow")
    dialog.get_by_label("Target table").fill(target)
    dialog.get_by_label("Name").fill(f"Invoices to {target}")
    dialog.get_by_role("button", name="Create", exact=True).click()
    drawer = page.get_by_role("dialog", name="Suggested mapping")
    drawer.get_by_role("button", name=re.compile("^Accept all")).click()
    expect(drawer).to_have_count(0)
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    expect(page.get_by_text(f"9 fields into {target}")).to_be_visible()
    expect(page.get_by_role("region", name="Preview rows").get_by_role("row").nth(1)).to_contain_text("INV-0001")

    total = page.get_by_label("Expression for total")
    total.fill("net + taxx")
    page.keyboard.press("Escape")
    row = page.get_by_role("listitem").filter(has=total)
    expect(row.locator("pre .mark-error")).to_have_text("taxx")
    expect(row.get_by_role("listitem")).to_contain_text("taxx")
    page.get_by_role("tab", name=re.compile("^Problems")).click()
    problem = page.get_by_role("region", name="Inspector").get_by_role("button", name=re.compile("taxx"))
    expect(problem.locator("code .mark-error")).to_have_text("taxx")
    page.get_by_label("Expression for number").focus()
    problem.click()
    expect(total).to_be_focused()
    total.fill("cast(net + tax as decimal(12,2))")
    page.keyboard.press("Escape")
    expect(row.locator("pre .mark-error")).to_have_count(0)
    expect(page.get_by_text("The draft can be published.")).to_be_visible()


def _set_rules(page: Page) -> None:
    """Two validations and a control total."""
    page.get_by_role("tab", name="Rules").click()
    for number, (rule, expression, message, field) in enumerate(RULES):
        page.get_by_role("button", name="Add a rule").click()
        item = page.locator(".rules-list > li").nth(number)
        item.get_by_label("Rule", exact=True).fill(rule)
        item.get_by_label("About").select_option(field)
        item.get_by_label(f"Expression of {rule}").fill(expression)
        page.keyboard.press("Escape")
        item.get_by_label(f"Message of {rule}").fill(message)
    page.get_by_role("tab", name="Reconciliation").click()
    page.get_by_role("button", name="Add a control").click()
    page.get_by_label("Name", exact=True).fill("Invoiced")
    page.get_by_label("Source column").select_option("total")
    page.get_by_label("Target field").select_option("total")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()


def _publish_and_deploy(page: Page) -> None:
    page.get_by_role("button", name="Publish", exact=True).click()
    dialog = page.get_by_role("dialog", name="Publish the draft")
    dialog.get_by_label("Note").fill("First load")
    dialog.get_by_role("button", name="Publish version 1").click()
    expect(page.get_by_text("Version 1 was published.")).to_be_visible()
    expect(page.get_by_text("First load")).to_be_visible()
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("dialog", name="Deploy").get_by_role("button", name="Deploy", exact=True).click()
    expect(page.get_by_text("dev v1")).to_be_visible()


def _run(page: Page) -> None:
    """Start the deployed version and watch it end, without reading the page anew."""
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog", name="Run")
    dialog.get_by_label("What to run").select_option("deployed")
    dialog.get_by_role("button", name="Start").click()
    page.wait_for_url("**/runs/*")
    head = page.get_by_role("main").locator("header.page-head")
    expect(head.get_by_text("Succeeded", exact=True)).to_be_visible()
    stages = page.locator("section.card").filter(has=page.get_by_role("heading", name="Stages"))
    expect(stages.locator(".mark.succeeded").first).to_be_visible()
    expect(stages.locator(".mark:not(.succeeded)")).to_have_count(0)
    meters = page.locator("dl.meters")
    for label, value in (("Read", ROWS), ("Accepted", GOOD_ROWS), ("Quarantined", 2), ("Written", GOOD_ROWS)):
        expect(meters.locator("div").filter(has_text=re.compile(f"^{label}")).locator("dd")).to_have_text(str(value))
    controls = page.locator("section.card").filter(has=page.get_by_role("heading", name="Reconciliation"))
    # To the cent, and amber only because somebody has to decide about two rows.
    expect(controls).to_contain_text("Agrees")
    expect(controls.get_by_text("To review")).to_be_visible()
    expect(controls).to_contain_text("2 rows wait in quarantine.")
    expect(page.get_by_role("region", name="Log lines")).to_contain_text("succeeded", ignore_case=True)


def _decide(page: Page) -> None:
    """The planted row shows every rule it breaks; a half correction is refused, a whole one is replayed."""
    page.locator("dl.meters").get_by_role("link", name="2").click()
    table = page.get_by_role("table", name="Quarantined rows")
    expect(table.get_by_role("row")).to_have_count(3)
    page.get_by_label("Search values and messages").fill(BAD_NUMBER)
    expect(table.get_by_role("row")).to_have_count(2)
    for rule, *_ in RULES:
        expect(table.get_by_role("row").nth(1)).to_contain_text(rule)
    table.get_by_role("row").nth(1).get_by_role("button").click()
    drawer = page.get_by_role("dialog", name="Quarantined row")
    for _, _, message, _ in RULES:
        expect(drawer.locator(".errors").first).to_contain_text(message)

    for name, value in (("net", "700.70"), ("tax", "140.14"), ("total", "840.84")):
        drawer.get_by_label(name, exact=True).fill(value)
    drawer.get_by_role("button", name="Check and store").click()
    expect(drawer.get_by_text("With these values the row still breaks a rule.")).to_be_visible()
    expect(drawer.get_by_label("total", exact=True)).to_have_value("840.84")
    drawer.get_by_label("currency", exact=True).fill("EUR")
    drawer.get_by_label("Note").fill("The credit note was booked twice.")
    drawer.get_by_role("button", name="Check and store").click()
    expect(drawer.get_by_text("The correction meets every rule")).to_be_visible()
    drawer.get_by_role("button", name="Replay").click()
    page.get_by_role("dialog", name="Replay 1 row?").get_by_role("button", name="Replay 1 row").click()
    page.get_by_role("button", name="Watch the run").click()
    page.wait_for_url("**/runs/*")
    head = page.get_by_role("main").locator("header.page-head")
    expect(head).to_contain_text("replay of quarantined rows")
    expect(head.get_by_text("Succeeded", exact=True)).to_be_visible()


def test_newcomer_loads_invoices_and_replays_a_corrected_row(
    stack: Stack,
    committed_acme: Any,
    user_for: Callable[..., Any],
    open_page: Callable[..., Page],
    console: ConsoleWatch,
    source_database: Callable[[str], dict[str, Any]],
    unique: Callable[[str], str],
) -> None:
    console.expect("422 .*/api/v2/quarantine/")  # the half correction
    source, target, name = source_database(SCRIPT), unique("invoices"), unique("Shop")
    page = open_page()
    sign_in(page, stack.url("acme", ""), user_for(committed_acme).email, PASSWORD)
    page.evaluate("window.neverReloaded = true")

    _connect(page, source, name)
    _browse(page)
    _map(page, target)
    _set_rules(page)
    _publish_and_deploy(page)
    _run(page)
    flow_runs = page.url
    assert _read_target(committed_acme, target) == (GOOD_ROWS, GOOD_TOTAL)
    _decide(page)
    assert _read_target(committed_acme, target) == (GOOD_ROWS + 1, CORRECTED_TOTAL)

    page.evaluate("(url) => history.pushState(null, '', url)", flow_runs)
    page.locator("dl.meters").get_by_role("link", name="2").click()
    expect(page.get_by_role("table", name="Quarantined rows").get_by_role("row")).to_have_count(2)
    page.get_by_label("Status").select_option("replayed")
    expect(page.get_by_role("table", name="Quarantined rows")).to_contain_text("Replayed")
    assert page.evaluate("window.neverReloaded"), "the page was loaded anew on the way"


def _read_target(tenant: Any, table: str) -> tuple[int, Decimal]:
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*), sum(total) FROM "{tenant.warehouse_schema}"."{table}"')
        count, total = cursor.fetchone()
    return count, total
