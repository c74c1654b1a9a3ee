"""What one person does appears on another one's page by itself, also after the live connection was cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.browser import ConsoleWatch
from tests.journeys.conftest import Ledger

pytestmark = [pytest.mark.browser, pytest.mark.committed]

# "Within a second" on a quiet machine; polling, which would take ten, must not pass for it.
LIVE_MS = 5_000


def _badge(page: Page) -> Locator:
    return page.get_by_role("complementary").get_by_role("status")


def _start_run(page: Page, flow: dict[str, Any]) -> None:
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("dialog", name="Run").get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name=flow["name"])).to_be_visible()
    page.wait_for_url("**/runs/*")


def test_run_of_one_person_appears_on_the_pages_of_another(
    committed_acme: Any, visit: Callable[..., Page], new_flow: Callable[..., dict[str, Any]]
) -> None:
    flow = new_flow("watched")
    builder = visit(committed_acme, f"/flows/{flow['id']}", roles=("builder",))
    list_watcher = visit(committed_acme, "/runs", roles=("viewer",))
    overview_watcher = visit(committed_acme, "/overview", roles=("viewer",))
    for page in (list_watcher, overview_watcher):
        expect(_badge(page)).to_have_text("Live")
        expect(page.get_by_role("table").first).to_be_visible()
        expect(page.get_by_role("link", name=flow["name"])).to_have_count(0)
        page.evaluate("window.neverReloaded = true")

    _start_run(builder, flow)

    for page in (list_watcher, overview_watcher):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=flow["name"]))
        expect(row).to_be_visible(timeout=LIVE_MS)
        expect(row).to_contain_text("Succeeded")
        assert page.evaluate("window.neverReloaded")
    run_page = builder.get_by_role("main").locator("header.page-head")
    expect(run_page.get_by_text("Succeeded", exact=True)).to_be_visible()


class Wire:
    """The live connection between one page and the server, with scissors."""

    def __init__(self, page: Page) -> None:
        self.cut = False
        self._open: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/ws/live"), self._connect)

    def _connect(self, socket: WebSocketRoute) -> None:
        if self.cut:
            socket.close(code=1001)
            return
        socket.connect_to_server()
        self._open.append(socket)

    def sever(self) -> None:
        """Close what is open and refuse what is tried."""
        self.cut = True
        while self._open:
            self._open.pop().close(code=1001)


def test_page_converges_while_the_socket_is_cut_and_recovers(
    stack: Any,
    ledger: Ledger,
    committed_acme: Any,
    api_for: Callable[..., Any],
    finished_run: Callable[..., dict[str, Any]],
    visit: Callable[..., Page],
    new_flow: Callable[..., dict[str, Any]],
    console: ConsoleWatch,
) -> None:
    console.expect("WebSocket")
    api, flow = api_for(committed_acme), new_flow("cut")
    page = visit(committed_acme, "/overview")
    wire = Wire(page)
    page.goto(stack.url("acme", f"/runs?flow={flow['id']}"))
    expect(_badge(page)).to_have_text("Live")
    expect(page.get_by_text("No run matches")).to_be_visible()
    page.evaluate("window.neverReloaded = true")

    wire.sever()
    expect(_badge(page)).to_have_text("Every 10 s")
    first = api.post(f"/api/v2/flows/{flow['id']}/runs", {"environment": "dev", "version": "draft"}).json()
    finished_run(api, first["id"])
    expect(page.get_by_role("row", name=re.compile("Succeeded"))).to_have_count(1)

    # The second run starts and ends unseen; connecting again is enough to learn of it.
    second = api.post(f"/api/v2/flows/{flow['id']}/runs", {"environment": "dev", "version": "draft"}).json()
    finished_run(api, second["id"])
    wire.cut = False
    page.evaluate("window.dispatchEvent(new Event('online'))")
    expect(_badge(page)).to_have_text("Live")
    expect(page.get_by_role("row", name=re.compile("Succeeded"))).to_have_count(2, timeout=LIVE_MS)
    assert page.evaluate("window.neverReloaded")
