"""Change capture in the browser: what a database lacks, a capture from its making to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import ConsoleWatch
from tests.connectors.captures import capturing, change_source, connected
from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed]


def test_a_capture_is_made_watched_paused_and_deleted(
    stack: Stack,
    committed_acme: Any,
    visit: Callable[..., Page],
    unique: Callable[[str], str],
    console: ConsoleWatch,
) -> None:
    name = unique("Orders")
    with change_source() as source, connected(committed_acme, source) as link, capturing():
        source.execute(
            "CREATE TABLE orders (id int PRIMARY KEY, total numeric(18,2)); INSERT INTO orders VALUES (1, 9.50);"
            "CREATE TABLE keyless (a int)"
        )
        page = visit(committed_acme, "/events/captures")
        page.get_by_role("button", name="New capture").click()
        form = page.get_by_role("dialog", name="New change capture")
        form.get_by_label("Name").fill(name)
        form.get_by_label("Connection").select_option(label=link.name)
        form.get_by_label("public.keyless").check()
        console.expect("422 .*/api/v2/captures")
        console.expect("404 .*/api/v2/captures/")  # told of its end, the open drawer reads it once more
        form.get_by_role("button", name="Create").click()
        expect(form.get_by_text('ALTER TABLE "public"."keyless" ADD PRIMARY KEY')).to_be_visible()
        form.get_by_label("public.keyless").uncheck()
        form.get_by_label("public.orders").check()
        form.get_by_role("button", name="Create").click()

        drawer = page.get_by_role("dialog", name=name)
        expect(drawer.get_by_text("All read, 1 rows")).to_be_visible()
        drawer.get_by_role("button", name="Measure now").click()
        expect(drawer.get_by_text("Reserved", exact=True)).to_be_visible()
        drawer.get_by_role("button", name="Pause").click()
        expect(drawer.get_by_text("Paused").first).to_be_visible()
        drawer.get_by_role("button", name="Resume").click()
        expect(drawer.get_by_text("Following").first).to_be_visible()
        drawer.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog", name=f"Delete {name}?").get_by_role("button", name="Delete").click()
        expect(drawer).to_be_hidden()
        expect(page.get_by_role("link", name=name)).to_have_count(0)
