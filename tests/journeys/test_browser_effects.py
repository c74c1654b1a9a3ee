"""Effects in the browser: a lost answer is decided by a person, and a run is restarted with its effects in view."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from apps.connectors.services.connections import create_connection
from apps.tenancy.services.context import tenant_context
from tests.connectors.rest_server import serve
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import process, step, value
from tests.engine.systems import unique_name
from tests.engine.test_effects import FIELDS, Payments

pytestmark = [pytest.mark.browser, pytest.mark.committed, pytest.mark.usefixtures("workers")]


def test_a_lost_answer_is_decided_and_the_run_restarted(
    committed_acme: Any,
    visit: Callable[..., Page],
    api_for: Callable[..., Any],
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, slug = api_for(committed_acme), unique_name("pay").replace("_", "-")
    with serve() as server:
        service = Payments(server)
        service.lost = 1
        monkeypatch.setattr(server, "send_payments", service.send, raising=False)
        resources = [{"name": "payments", "path": "payments", "write_repeats": "twice"}]
        settings = {"base_url": server.base_url, "requests_per_second": 100, "resources": resources}
        with tenant_context(committed_acme):
            create_connection(name=slug, slug=slug, connector="rest", config=settings, secrets={}, actor=SYSTEM)
        config = {"connection": slug, "entity": "payments", "rows": "[{'id': input.n, 'total': 1}]", "fields": FIELDS}
        retry = {"max_attempts": 2, "base_s": 0, "cap_s": 0, "jitter": 0}
        pay = step("pay", "write", config={**config, "disposition": "upsert", "keys": ["id"]}, retry=retry, name="Pay")
        body = {"name": unique("Payments"), "draft": process(value("begin", n="input.n"), pay, value("thank", n="1"))}
        flow = api.post("/api/v2/flows", body, format="json").json()
        request = {"environment": "dev", "version": "draft", "parameters": {"n": 7}}
        started = api.post(f"/api/v2/flows/{flow['id']}/runs", request, format="json").json()

        page = visit(committed_acme, f"/runs/{started['id']}")
        head = page.get_by_role("main").locator("header.page-head")
        expect(page.get_by_text("Has it happened?")).to_be_visible()
        expect(page.get_by_text("upsert payments (id=7), 1 row").first).to_be_visible()
        expect(page.get_by_text("Not known", exact=True)).to_be_visible()
        page.get_by_role("button", name="It did not, send again").click()
        dialog = page.get_by_role("dialog", name="Send it again?")
        dialog.get_by_label("Why").fill("Not on the statement")
        dialog.get_by_role("button", name="Send again").click()
        expect(head.get_by_text("Succeeded", exact=True)).to_be_visible()
        expect(page.get_by_text("Confirmed", exact=True)).to_be_visible()
        expect(page.get_by_text("PAY-2")).to_be_visible()
        expect(page.get_by_text("Not on the statement")).to_be_visible()

        page.get_by_role("button", name="Restart from pay").click()
        dialog = page.get_by_role("dialog", name="Restart from Pay")
        expect(dialog.get_by_text("1 step is kept, 2 of the old run are done again.")).to_be_visible()
        expect(dialog.get_by_text("Does not happen twice")).to_be_visible()
        dialog.get_by_label("Input").fill('{"n": ')
        expect(dialog.get_by_text("This is not JSON")).to_be_visible()
        expect(dialog.get_by_role("button", name="Restart", exact=True)).to_be_disabled()
        dialog.get_by_label("Input").fill(json.dumps({"n": 8}))
        expect(dialog.get_by_text("Happens again")).to_be_visible()
        dialog.get_by_label("Input").fill(json.dumps({"n": 7}))
        dialog.get_by_label("Let pay happen once more").check()
        expect(dialog.get_by_text("Happens once more")).to_be_visible()
        dialog.get_by_role("button", name="Restart", exact=True).click()
        expect(dialog).to_have_count(0)
        expect(page.get_by_text("another run")).to_be_visible()
        expect(head.get_by_text("Succeeded", exact=True)).to_be_visible()
        expect(page.get_by_text("kept", exact=True)).to_be_visible()
        expect(page.get_by_text("PAY-3")).to_be_visible()
        assert [one["id"] for one in service.booked] == [7, 7, 7]
