"""What goes wrong in a source system is said on the page, with what to do, and nothing is lost by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser import ConsoleWatch
from tests.journeys.conftest import Stack
from tests.journeys.ledger import SCRIPT, build_definition
from tests.processes import database_url, free_port

pytestmark = [pytest.mark.browser, pytest.mark.committed]


def test_unusable_addresses_are_explained_in_the_wizard(committed_acme: Any, visit: Callable[..., Page]) -> None:
    page = visit(committed_acme, "/connections/new?connector=postgresql")
    for label, value in (("Name", "Far away"), ("Database", "shop"), ("User", "reader")):
        page.get_by_label(re.compile(f"^{label}")).fill(value)
    test = page.get_by_role("button", name="Test", exact=True).first
    for host, port, words in (
        ("10.20.30.40", "5432", "10.20.30.40"),
        ("no-such-host.invalid", "5432", "no-such-host.invalid"),
        ("127.0.0.1", str(free_port()), "cannot be reached on port"),
    ):
        page.get_by_label("Host", exact=True).fill(host)
        page.get_by_label(re.compile("^Port")).fill(port)
        expect(page.get_by_role("alert")).to_have_count(0)
        test.click()
        expect(page.get_by_role("alert").first).to_contain_text(words)
        expect(page.get_by_role("listitem").filter(has_text="failed").first).to_be_visible()
        expect(page.get_by_label(re.compile("^Database"))).to_have_value("shop")
    expect(page.get_by_role("button", name="Save without a passed test")).to_be_enabled()


def test_vanished_table_fails_the_run_and_a_retry_mends_it(
    stack: Stack,
    committed_acme: Any,
    api_for: Callable[..., Any],
    visit: Callable[..., Page],
    source_database: Callable[[str], dict[str, Any]],
    unique: Callable[[str], str],
    console: ConsoleWatch,
) -> None:
    console.expect(r"status of 4(04|22) .*/(preview|sample|entity)")  # the editor, when it looks after the renaming
    api, slug, source = api_for(committed_acme), unique("shop").replace("_", "-"), source_database(SCRIPT)
    made = api.post("/api/v2/connections", {"name": slug, "slug": slug, "connector": "postgresql", **source})
    assert made.status_code == 201, made.json()
    draft = build_definition(source=slug, target=unique("invoices"))
    flow = api.post("/api/v2/flows", {"name": unique("vanishing"), "draft": draft}).json()
    page = visit(committed_acme, f"/flows/{flow['id']}")
    expect(page.get_by_role("status").get_by_text("Saved", exact=True)).to_be_visible()
    _run_sql(source, "ALTER TABLE invoices RENAME TO invoices_old")

    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("dialog", name="Run").get_by_role("button", name="Start").click()
    page.wait_for_url("**/runs/*")
    head = page.get_by_role("main").locator("header.page-head")
    expect(head.get_by_text("Failed", exact=True)).to_be_visible()
    failure = page.get_by_role("alert")
    expect(failure).to_contain_text("invoices")
    expect(failure).to_contain_text("connectors.entity_gone")

    _run_sql(source, "ALTER TABLE invoices_old RENAME TO invoices")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_text("A new run was started.")).to_be_visible()
    expect(head.get_by_text("Succeeded", exact=True)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def _run_sql(source: dict[str, Any], statement: str) -> None:
    with psycopg.connect(database_url(), dbname=source["config"]["database"], autocommit=True) as target:
        target.execute(statement)  # type: ignore[call-overload]
