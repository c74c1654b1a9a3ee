"""Rates, tallies and metrics of webhooks in: too many are refused before they are read, and every fate is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from prometheus_client import REGISTRY

from apps.events.api.inbound import InboundWebhooks
from apps.events.models import InboundEndpoint, InboundTally
from apps.events.selectors import get_inbound_endpoint
from apps.events.services import inbound_endpoints
from apps.events.services.inbound_intake import endpoint_cache
from apps.events.services.inbound_limits import RateGate, rate_gate
from apps.tenancy.services.context import tenant_context
from tests.events.hooks import SYSTEM
from tests.events.live_helpers import close_connections
from tests.events.test_inbound import Answer, Door, nowhere, request, run

pytestmark = pytest.mark.committed


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Buckets and cached endpoints are of the process: no test inherits another one's."""
    rate_gate.clear()
    endpoint_cache.clear()
    yield
    rate_gate.clear()
    endpoint_cache.clear()
    close_connections()


@pytest.fixture
def make_door(committed_acme: Any) -> Iterator[Callable[..., Door]]:
    """Makes endpoints of acme."""
    made: list[InboundEndpoint] = []

    def make(**settings: Any) -> Door:
        row, secret = inbound_endpoints.create_endpoint(
            f"limited {uuid4()}", scheme="standard-webhooks", actor=SYSTEM, **settings
        )
        made.append(row)
        assert secret is not None
        return Door(row, secret, InboundWebhooks(nowhere))

    with tenant_context(committed_acme):
        yield make
        for row in made:
            inbound_endpoints.archive_endpoint(row.id, actor=SYSTEM)


def taken(result: str) -> float:
    return REGISTRY.get_sample_value("portal_webhooks_taken_total", {"result": result}) or 0.0


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("portal_webhooks_refused_total", {"reason": reason}) or 0.0


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    gate = RateGate()
    assert [gate.take("a", 10, 3, 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert gate.take("a", 10, 3, 100.0) == pytest.approx(0.1)
    assert gate.take("b", 10, 3, 100.0) == 0.0
    assert gate.take("a", 10, 3, 100.05) == pytest.approx(0.05)
    assert gate.take("a", 10, 3, 100.2) == 0.0
    assert [gate.take("a", 10, 3, 200.0) == 0.0 for _ in range(4)] == [True, True, True, False], "never above the burst"


def test_too_many_are_429_before_the_body_is_read(make_door: Callable[..., Door]) -> None:
    door = make_door(rate_per_s=1, burst=2)
    body = b'{"a": 1}'
    assert [door.knock(body).status for _ in range(2)] == [202, 202]

    async def unread() -> Answer:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            raise AssertionError("the body was read")

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(name.encode(), value.encode()) for name, value in door.headers(body, "late")]
        scope = {"type": "http", "method": "POST", "path": door.path, "headers": headers}
        await door.application(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, sent[1]["body"])

    before = refused("events.webhook_rate")
    answer = run(unread())
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    document = json.loads(answer.body)
    assert (document["code"], document["detail"]) == (
        "events.webhook_rate",
        "This address takes no more than 1 a second.",
    )
    assert refused("events.webhook_rate") == before + 1
    assert door.messages() == 2


def test_an_organisation_has_a_limit_over_all_its_addresses(
    make_door: Callable[..., Door], committed_globex: Any, settings: Any
) -> None:
    settings.WEBHOOK_LIMITS = {"tenant_per_s": 1, "tenant_burst": 3, "endpoint_burst": 100, "endpoint_per_s": 100}
    doors = [make_door(), make_door()]
    assert [doors[number % 2].knock().status for number in range(4)] == [202, 202, 202, 429]
    with tenant_context(committed_globex):
        row, secret = inbound_endpoints.create_endpoint(f"g {uuid4()}", scheme="standard-webhooks", actor=SYSTEM)
        other = Door(row, str(secret), InboundWebhooks(nowhere), host="globex.localhost")
        assert other.knock().status == 202, "another organisation has its own"
        inbound_endpoints.archive_endpoint(row.id, actor=SYSTEM)


def test_an_address_that_is_flooded_does_not_use_up_the_organisation(
    make_door: Callable[..., Door], settings: Any
) -> None:
    settings.WEBHOOK_LIMITS = {"tenant_per_s": 1, "tenant_burst": 3}
    flooded, calm = make_door(rate_per_s=1, burst=1), make_door()
    assert [flooded.knock().status for _ in range(10)] == [202] + [429] * 9
    assert [calm.knock().status for _ in range(2)] == [202, 202]


def test_every_fate_is_counted_by_the_hour_and_in_the_metrics(make_door: Callable[..., Door]) -> None:
    door = make_door(max_bytes=100)
    before = {name: taken(name) for name in ("accepted", "duplicate")}
    bad = refused("events.signature_refused"), refused("core.too_large"), refused("events.endpoint_not_found")
    timed = REGISTRY.get_sample_value("portal_webhook_seconds_count") or 0.0

    async def all_at_once() -> list[Answer]:
        found = [
            await request(door.application, door.path, b"{}", door.headers(b"{}", message_id))
            for message_id in ("one", "two", "one")
        ]
        found.append(await request(door.application, door.path, b"{}", door.headers(b"other", "x")))
        found.append(await request(door.application, door.path, b"x" * 200, door.headers(b"x" * 200, "y")))
        found.append(await request(door.application, "/hooks/nobody", b"{}", door.headers(b"{}", "z")))
        return found

    assert [answer.status for answer in run(all_at_once())] == [202, 202, 202, 401, 413, 404]
    assert (taken("accepted") - before["accepted"], taken("duplicate") - before["duplicate"]) == (2, 1)
    after = refused("events.signature_refused"), refused("core.too_large"), refused("events.endpoint_not_found")
    assert [one - other for one, other in zip(after, bad, strict=True)] == [1, 1, 1]
    assert REGISTRY.get_sample_value("portal_webhook_seconds_count") == timed + 6
    row: Any = get_inbound_endpoint(door.row.id)
    assert (row.accepted_24h, row.duplicates_24h, row.refused_24h, row.rejected) == (2, 1, 2, 2)
    assert row.last_rejection == "This endpoint takes at most 100 bytes."
    assert row.last_rejected_at is not None
    run(asyncio.sleep(0))
    door.knock(message_id="three")
    assert InboundTally.objects.filter(endpoint=door.row).count() in (1, 2), "one row an hour"


def test_metrics_page_names_no_endpoint_and_no_tenant(make_door: Callable[..., Door]) -> None:
    door = make_door()
    door.knock()
    lines = [line for line in Client().get("/metrics").content.decode().splitlines() if "portal_webhook" in line]
    assert any(line.startswith('portal_webhooks_taken_total{result="accepted"}') for line in lines)
    assert any(line.startswith('portal_webhook_seconds_bucket{le="0.05"}') for line in lines)
    assert not any(word in "\n".join(lines) for word in (str(door.row.id), door.row.public_id, "acme"))


@pytest.mark.parametrize(
    ("change", "field"),
    [({"rate_per_s": 2_001}, "rate_per_s"), ({"burst": 1_000_001}, "burst")],
    ids=["above-the-organisation", "huge-burst"],
)
def test_a_limit_over_rest(
    make_door: Callable[..., Door], committed_acme: Any, committed_globex: Any, api_for: Any, change: Any, field: str
) -> None:
    door = make_door()
    url = f"/api/v2/webhook-endpoints/{door.row.id}"
    api = api_for(committed_acme)
    refused_change = api.patch(url, change, format="json")
    assert (refused_change.status_code, refused_change.json()["field"]) == (422, field)
    changed = api.patch(url, {"rate_per_s": 5, "burst": 7}, format="json").json()
    assert (changed["rate_per_s"], changed["burst"], changed["refused_24h"]) == (5, 7, 0)
    assert api.patch(url, {"rate_per_s": None}, format="json").json()["rate_per_s"] is None
    assert api_for(committed_globex).patch(url, {"rate_per_s": 5}, format="json").status_code == 404
