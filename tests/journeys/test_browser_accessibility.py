"""Every page by WCAG 2.2 AA, in both themes; on a phone; and without a mouse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import SIZES, ConsoleWatch, find_violations, horizontal_overflow
from tests.conftest import PASSWORD
from tests.engine.process_factories import process, step, value
from tests.journeys.conftest import Ledger, Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed]

WIDE, NARROW = ({"width": width, "height": height} for width, height in (SIZES["wide"], SIZES["narrow"]))
# Tables become cards there, and controls move together.
NARROW_RULES = ("target-size", "scrollable-region-focusable", "button-name", "link-name", "label", "aria-hidden-focus")
TABS_MOST = 90
# The focused element, through shadow roots, and whether it or what frames it (an input in a box) shows that it is.
FOCUS_IS_VISIBLE = """() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    for (let at = element, up = 0; at instanceof Element && up < 4; at = at.parentElement, up += 1) {
        const style = getComputedStyle(at);
        const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
        if (outlined || (up < 2 && style.boxShadow !== "none")) return true;
    }
    return false;
}"""


def _make(api: Any, path: str, body: dict[str, Any]) -> str:
    made = api.post(f"/api/v2/{path}", body, format="json")
    assert made.status_code < 300, made.json()
    return str(made.json()["id"])


def _paths(ledger: Ledger, api: Any, unique: Callable[[str], str]) -> dict[str, str]:
    """Every page, with something on it, and the parts of a page that open by address."""
    connection, flow, run = ledger.paths["connection"], ledger.paths["flow"], ledger.paths["run"]
    hook = {"name": unique("Hook"), "types": ["nothing.*"], "config": {"url": "https://example.com/hook"}}
    webhook = _make(api, "event-subscriptions", hook)
    assert api.post(f"/api/v2/event-subscriptions/{webhook}/test").status_code < 300
    contract = _make(
        api, "event-contracts", {"type": f"com.acme.{unique('t').lower()}.v1", "schema": {"type": "object"}}
    )
    _make(api, "webhook-endpoints", {"name": unique("Shop"), "scheme": "standard-webhooks"})
    dunning = process(step("pay", "wait", config={"event": "never"}), value("thank"))
    parked = _make(api, "flows", {"name": unique("Dunning"), "draft": dunning})
    waiting = _make(api, f"flows/{parked}/runs", {"environment": "dev", "version": "draft"})
    return {
        "overview": "/overview",
        "connections": "/connections",
        "choice of a connector": "/connections/new",
        "new connection": "/connections/new?connector=postgresql",
        "connection": f"{connection}?entity=public.invoices",
        "settings of a connection": f"{connection}?tab=settings",
        "flows": "/flows",
        "new flow": "/flows?create=1",
        "mapping": flow,
        "suggestions": f"{flow}?suggest=1",
        "rules": f"{flow}?tab=rules",
        "load": f"{flow}?tab=load",
        "contract": f"{flow}?tab=contract",
        "controls": f"{flow}?tab=reconciliation",
        "versions": f"{flow}?tab=history",
        "runs": "/runs",
        "run": run,
        "process": f"/flows/{parked}",
        "new process": "/flows?create=process",
        "waiting process": f"/runs/{waiting}",
        "quarantine": "/quarantine",
        "tasks": "/tasks?view=all",
        "triggers": "/triggers",
        "new trigger": "/triggers?create=1",
        "events": "/events",
        "event types": "/events/types",
        "event type": f"/events/types?type={contract}",
        "webhooks out": "/events/webhooks",
        "webhook out": f"/events/webhooks/{webhook}",
        "webhooks in": "/events/incoming",
        "profile": "/settings/profile",
        "members": "/settings/members",
        "roles": "/settings/roles",
        "environments": "/settings/environments",
        "API keys": "/settings/api-keys",
        "audit": "/settings/audit",
        "sign-in security": "/accounts/2fa/",
        "missing": "/no/such/page",
    }


def _settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    expect(page.locator(".skeleton")).to_have_count(0)


def _inspect(page: Page, name: str) -> list[str]:
    """What is wrong with the page as it is now: wide, then in dark, where only colours differ, then on a phone."""
    page.set_viewport_size(WIDE)
    found = [f"{name}: {violation}" for violation in find_violations(page)]
    page.emulate_media(color_scheme="dark")
    found += [f"{name}, dark: {violation}" for violation in find_violations(page, "color-contrast")]
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(NARROW)
    found += [f"{name}, narrow: {violation}" for violation in find_violations(page, *NARROW_RULES)]
    if overflow := horizontal_overflow(page):
        found.append(f"{name}, narrow: the page is {overflow} px too wide")
    return found


def test_pages_meet_wcag_and_fit_a_phone(
    stack: Stack,
    ledger: Ledger,
    committed_acme: Any,
    visit: Callable[..., Page],
    open_page: Callable[..., Page],
    api_for: Callable[..., Any],
    unique: Callable[[str], str],
    console: ConsoleWatch,
) -> None:
    console.expect("status of 404 .*/no/such/page")
    stranger = open_page()
    stranger.goto(stack.url("acme", "/accounts/login/"))
    found = _inspect(stranger, "sign in")
    page = visit(committed_acme)
    for name, path in _paths(ledger, api_for(committed_acme), unique).items():
        page.goto(stack.url("acme", path))
        _settle(page)
        found += _inspect(page, name)
    page.goto(stack.url("acme", f"/quarantine?run={ledger.run['id']}"))
    page.get_by_role("table", name="Quarantined rows").get_by_role("button").first.click()
    expect(page.get_by_role("dialog").get_by_role("heading", name="Correct the source values")).to_be_visible()
    found += _inspect(page, "quarantined row")
    for path, button, title in (
        ("/events/webhooks", "New webhook", "New webhook"),
        ("/events/incoming", "New address", "New address"),
        ("/events", "Replay…", "Replay"),
    ):
        page.set_viewport_size(WIDE)
        page.goto(stack.url("acme", path))
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("dialog", name=title)).to_be_visible()
        found += _inspect(page, f"dialog {title}")
    page.set_viewport_size(WIDE)
    page.goto(stack.url("acme", "/events"))
    page.get_by_role("table", name="Events").get_by_role("button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found += _inspect(page, "event")

    assert not found, "\n".join(found)


def test_phone_reaches_every_page(ledger: Ledger, committed_acme: Any, visit: Callable[..., Page]) -> None:
    page = visit(committed_acme, "/overview", size="narrow", has_touch=True)
    bar = page.get_by_role("navigation", name="Main")
    for name in ("Connections", "Flows", "Runs", "Overview"):
        bar.get_by_role("link", name=name).tap()
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    for name in ("Quarantine", "Settings"):
        bar.get_by_role("button", name="More").tap()
        page.get_by_role("navigation", name="All pages").get_by_role("link", name=name).tap()
        expect(page.get_by_role("dialog")).to_have_count(0)
        heading = "Profile" if name == "Settings" else name
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
    bar.get_by_role("link", name="Flows").tap()
    page.get_by_role("link", name=ledger.flow["name"]).tap()
    for pane, region in (("Source", "Source columns"), ("Inspector", "Inspector"), ("Mapping", "Mapping")):
        page.get_by_role("tab", name=pane, exact=True).last.tap()
        expect(page.get_by_role("region", name=region, exact=True)).to_be_visible()


def _tab_to(page: Page, target: Locator, *, key: str = "Tab") -> None:
    """Press Tab until `target` has the focus; every stop on the way shows where it is."""
    expect(target).to_be_visible()
    for _ in range(TABS_MOST):
        page.keyboard.press(key)
        assert page.evaluate(FOCUS_IS_VISIBLE), f"no visible focus on the way to {target}"
        if target.evaluate("(element) => element.matches(':focus')"):
            return
    raise AssertionError(f"{target} is not reached by {key}")


def test_keyboard_alone_signs_in_edits_saves_and_runs(
    stack: Stack,
    committed_acme: Any,
    user_for: Callable[..., Any],
    open_page: Callable[..., Page],
    new_flow: Callable[..., dict[str, Any]],
) -> None:
    flow = new_flow("keyboard")
    page = open_page()
    page.goto(stack.url("acme", "/accounts/login/"))
    _tab_to(page, page.get_by_label("Email"))
    page.keyboard.type(user_for(committed_acme).email)
    _tab_to(page, page.get_by_label("Password"))
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/overview")
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_focused()

    page.keyboard.press("g")
    page.keyboard.press("f")
    expect(page.get_by_role("heading", name="Flows", level=1)).to_be_focused()
    page.keyboard.press("/")
    search = page.get_by_label("Search flows")
    expect(search).to_be_focused()
    page.keyboard.type(flow["name"])
    expect(page.get_by_role("table", name="Flows").get_by_role("row")).to_have_count(2)
    _tab_to(page, page.get_by_role("link", name=flow["name"]))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=flow["name"])).to_be_focused()

    number = page.get_by_label("Expression for number")
    _tab_to(page, number)
    page.keyboard.press("Control+a")
    page.keyboard.type("upp")
    completions = page.get_by_role("listbox", name="Completions")
    expect(completions.get_by_role("option").first).to_contain_text("upper")
    page.keyboard.press("Enter")
    expect(completions).to_have_count(0)
    expect(number).to_have_value(re.compile(r"^upper\("))
    page.keyboard.press("Control+a")
    page.keyboard.type("upper(number)")
    page.keyboard.press("Escape")
    expect(number).to_be_focused()
    expect(page.get_by_role("status").get_by_text("Saved", exact=True)).to_be_visible()

    _tab_to(page, page.get_by_role("button", name="Run", exact=True), key="Shift+Tab")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Run")
    expect(dialog.get_by_label("Environment")).to_be_focused()
    _tab_to(page, dialog.get_by_role("button", name="Start"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    head = page.get_by_role("main").locator("header.page-head")
    expect(head.get_by_text("Succeeded", exact=True)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
