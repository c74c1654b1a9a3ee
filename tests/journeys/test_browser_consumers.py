"""Consumers in the browser: one is made, takes messages of a real NATS, shows what it could not use, and pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from apps.messaging.models import Consumer
from apps.messaging.services.editing import delete_consumer
from tests.brokers import Broker, nats_server  # noqa: F401 - a fixture
from tests.browser import ConsoleWatch
from tests.journeys.conftest import Stack
from tests.messaging.conftest import stream  # noqa: F401 - a fixture
from tests.messaging.consumers import SYSTEM, broker_connection, inside, publish_raw, running, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.committed]


def test_a_consumer_is_made_takes_messages_and_shows_its_dead_letters(
    stack: Stack,
    committed_acme: Any,
    nats_server: Broker,  # noqa: F811
    stream: str,  # noqa: F811
    visit: Callable[..., Page],
    unique: Callable[[str], str],
    console: ConsoleWatch,
) -> None:
    name = unique("Orders")
    with inside(committed_acme):
        slug = broker_connection("nats", nats_server)
    page = visit(committed_acme, "/events/consumers")
    page.get_by_role("button", name="New consumer").click()
    form = page.get_by_role("dialog", name="New consumer")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Connection").select_option(slug)
    form.get_by_label("Takes").fill(stream)
    form.get_by_label("Begins").select_option("all")
    form.get_by_label("Only messages with").fill("body->>")
    console.expect("422 .*/api/v2/consumers")
    form.get_by_role("button", name="Create").click()
    expect(form.get_by_role("alert").first).to_be_visible()
    form.get_by_label("Only messages with").fill("")
    form.get_by_role("button", name="Create").click()
    drawer = page.get_by_role("dialog", name=name)
    expect(drawer.get_by_text("Every message became an event")).to_be_visible()

    publish_raw(nats_server, f"{stream}.a", [b'{"n": 1}', b"not json", b"nor this", b'{"n": 2}'])
    with inside(committed_acme):
        row = Consumer.objects.get(name=name)
        with running():
            wait_until(lambda: Consumer.objects.get(id=row.id).received == 4, "taken")
    page.reload()
    expect(drawer.get_by_text("2 of 4 taken")).to_be_visible()
    letters = drawer.get_by_role("table", name="Dead letters")
    letters.get_by_text("not JSON").first.click()
    letter = page.get_by_role("dialog", name="Dead letter")
    expect(letter.get_by_text("nor this")).to_be_visible()
    console.expect("422 .*/api/v2/dead-letters/.*/redeliver")
    letter.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("The body is not JSON").last).to_be_visible()
    letter.get_by_role("button", name="Discard").click()
    expect(letters.get_by_text("not JSON")).to_have_count(1)

    drawer.get_by_role("button", name="Pause").click()
    expect(drawer.get_by_text("Paused").first).to_be_visible()
    drawer.get_by_role("button", name="Resume").click()
    expect(drawer.get_by_role("button", name="Pause")).to_be_visible()
    with inside(committed_acme):
        delete_consumer(row.id, actor=SYSTEM)
