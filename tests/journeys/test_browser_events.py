"""Events in the browser: a webhook out that fails and recovers, the log with a replay, and webhooks that come in."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from standardwebhooks.webhooks import Webhook

from apps.core.ids import uuid7
from apps.events.services.signatures import build_headers
from tests.browser import ConsoleWatch
from tests.events.hooks import eventually, receiving
from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.browser, pytest.mark.committed]


def secret_of(page: Page) -> str:
    """The secret that the dialog shows this once."""
    dialog = page.get_by_role("dialog", name="Copy the signing secret now")
    secret = dialog.locator("code").first.inner_text()
    dialog.get_by_role("button", name="I have stored it").click()
    return secret


def test_a_webhook_is_made_tried_disabled_and_revived(
    stack: Stack,
    committed_acme: Any,
    visit: Callable[..., Page],
    unique: Callable[[str], str],
    console: ConsoleWatch,
) -> None:
    name = unique("Billing")
    with receiving() as receiver:
        page = visit(committed_acme, "/events/webhooks")
        page.get_by_role("button", name="New webhook").click()
        form = page.get_by_role("dialog", name="New webhook")
        form.get_by_label("Name").fill(name)
        form.get_by_label("Types").fill("nothing.*")
        form.get_by_label("Address").fill("ftp://nowhere")
        console.expect("422 .*/api/v2/event-subscriptions")
        form.get_by_role("button", name="Create").click()
        expect(form.get_by_role("alert").first).to_contain_text("http")
        form.get_by_label("Address").fill(receiver.url())
        form.get_by_role("button", name="Create").click()
        secret = secret_of(page)
        expect(page.get_by_role("heading", name=name)).to_be_visible()

        page.get_by_role("button", name="Send a test").click()
        eventually(lambda: receiver.of())
        request = receiver.of()[0]
        Webhook(secret).verify(request.body, request.headers)
        deliveries = page.get_by_role("table", name="Deliveries")
        expect(deliveries.get_by_text("Delivered")).to_be_visible()

        receiver.answers["/hook"] = 410
        page.get_by_role("button", name="Send a test").click()
        expect(page.get_by_text("410 Gone")).to_be_visible()
        receiver.answers["/hook"] = 204
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("tab", name="Dead letters").click()
        page.get_by_role("button", name="Send all again").click()
        eventually(lambda: len(receiver.of()) == 3)
        page.get_by_role("tab", name="Delivered").click()
        expect(deliveries.get_by_text("subscription.tested.v1")).to_have_count(2)

        deliveries.get_by_text("subscription.tested.v1").first.click()
        drawer = page.get_by_role("dialog", name="Delivery")
        expect(drawer.get_by_text("204").first).to_be_visible()
        drawer.get_by_role("button", name="Send again").click()
        eventually(lambda: len(receiver.of()) == 4)


def test_the_log_shows_an_event_and_replays_after_a_preview(
    stack: Stack, committed_acme: Any, visit: Callable[..., Page], api_for: Callable[..., Any], unique: Any
) -> None:
    api, type_ = api_for(committed_acme), f"com.acme.shown-{uuid7().hex}.v1"
    made = api.post("/api/v2/event-contracts", {"type": type_, "schema": {"type": "object"}}, format="json")
    assert made.status_code == 201
    with receiving() as receiver:
        name = unique("Replayed")
        body = {"name": name, "types": [type_], "config": {"url": receiver.url()}}
        assert api.post("/api/v2/event-subscriptions", body, format="json").status_code == 201
        for number in range(3):
            event = {"id": f"{type_}-{number}", "type": type_, "subject": f"shown/{number}", "data": {"n": number}}
            assert api.post("/api/v2/events", event, format="json").status_code == 201
        eventually(lambda: len(receiver.of()) == 3)

        page = visit(committed_acme, f"/events?type={type_}")
        events = page.get_by_role("table", name="Events")
        expect(events.get_by_text("shown/2")).to_be_visible()
        events.get_by_text("shown/2").click()
        drawer = page.get_by_role("dialog", name=type_)
        assert json.loads(drawer.get_by_label("Data").input_value()) == {"n": 2}
        expect(drawer.get_by_role("table", name="Deliveries").get_by_text(name)).to_be_visible()
        page.keyboard.press("Escape")

        page.get_by_role("button", name="Replay…").click()
        dialog = page.get_by_role("dialog", name="Replay")
        dialog.get_by_label("To", exact=True).select_option(label=name)
        dialog.get_by_role("button", name="Preview").click()
        expect(dialog.get_by_text("shown/0")).to_be_visible()
        dialog.get_by_role("button", name="Deliver 3 events again").click()
        eventually(lambda: len(receiver.of()) == 6)


def test_an_address_takes_signed_webhooks_and_shows_them(
    stack: Stack, committed_acme: Any, visit: Callable[..., Page], unique: Callable[[str], str]
) -> None:
    page = visit(committed_acme, "/events/incoming")
    page.get_by_role("button", name="New address").click()
    page.get_by_label("Name").fill(unique("Shop"))
    page.get_by_role("button", name="Create").click()
    secret = secret_of(page)
    drawer = page.get_by_role("dialog")
    address = drawer.locator("code").first.inner_text()
    assert address.startswith(stack.url("acme", "/hooks/"))

    body = b'{"amount": 12345678901234567890.10}'
    headers = build_headers([secret], message_id="shown-1", timestamp=int(time.time()), body=body)
    target = address.replace("acme.localhost", "127.0.0.1")
    request = urllib.request.Request(target, body, {**headers, "Host": f"acme.localhost:{stack.port}"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 202

    page.reload()
    drawer.get_by_text("shown-1").click()
    shown = page.get_by_role("dialog", name="Webhook")
    assert "12345678901234567890.10" in shown.get_by_label("Body").input_value()


def test_a_viewer_looks_and_changes_nothing(stack: Stack, committed_acme: Any, visit: Callable[..., Page]) -> None:
    page = visit(committed_acme, "/events", roles=("viewer",))
    for path, button in (
        ("/events", "Replay…"),
        ("/events/webhooks", "New webhook"),
        ("/events/incoming", "New address"),
    ):
        page.goto(stack.url("acme", path))
        expect(page.get_by_role("heading", name="Events")).to_be_visible()
        expect(page.get_by_role("button", name=button)).to_have_count(0)


def test_a_type_is_defined_and_a_breaking_version_names_who_breaks(
    committed_acme: Any,
    visit: Callable[..., Page],
    api_for: Callable[..., Any],
    unique: Callable[[str], str],
    console: ConsoleWatch,
) -> None:
    type_, hook = f"com.acme.t{uuid7().hex}.v1", unique("Ledger")
    page = visit(committed_acme, "/events/types")
    page.get_by_role("button", name="New type").click()
    form = page.get_by_role("dialog", name="New type of event")
    form.get_by_label("Type", exact=True).fill("No Type")
    form.get_by_label("Schema").fill("{")
    expect(form.get_by_text("This is not JSON")).to_be_visible()
    expect(form.get_by_role("button", name="Define")).to_be_disabled()
    form.get_by_label("Schema").fill(json.dumps({"type": "object", "properties": {"total": {"type": "number"}}}))
    console.expect("422 .*/api/v2/event-contracts")
    form.get_by_role("button", name="Define").click()
    expect(form.get_by_role("alert").first).to_be_visible()
    form.get_by_label("Type", exact=True).fill(type_)
    form.get_by_role("button", name="Define").click()
    drawer = page.get_by_role("dialog", name=type_)
    expect(drawer.get_by_label("Schema", exact=True)).to_contain_text("total")

    subscription = {"name": hook, "types": [type_], "config": {"url": "https://example.com/hook"}}
    assert api_for(committed_acme).post("/api/v2/event-subscriptions", subscription, format="json").status_code == 201
    drawer.get_by_role("button", name="New version").click()
    form = page.get_by_role("dialog", name=f"Version 2 of {type_}")
    form.get_by_label("Schema").fill(json.dumps({"type": "object", "properties": {"total": {"type": "string"}}}))
    form.get_by_role("button", name="Check").click()
    expect(form.get_by_text("This breaks what was promised.")).to_be_visible()
    expect(form.get_by_text(hook)).to_be_visible()
    expect(form.get_by_role("button", name="Publish")).to_be_disabled()
    form.get_by_label("Publish although it breaks what was promised").check()
    form.get_by_role("button", name="Publish").click()
    expect(page.get_by_text(f"Version 2 of {type_} is published.")).to_be_visible()
    expect(page.get_by_role("dialog", name=type_).get_by_role("list", name="Versions").locator("li")).to_have_count(2)
