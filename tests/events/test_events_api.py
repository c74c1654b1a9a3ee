"""GET /api/v2/events and /api/v2/event-types."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.core.clock import now
from apps.core.ids import uuid7
from apps.events.services.numbering import number_events
from apps.events.services.outbox import publish_event
from apps.tenancy.services.context import tenant_context
from tests.events.factories import PROBE


def publish(tenant: Any, subject: str, type_: str = PROBE.type) -> str:
    with tenant_context(tenant):
        return str(publish_event(type_, subject=subject, data={"number": 1}))


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [event["id"] for event in response.json()["results"]]


def test_events_are_listed_as_cloudevents_newest_first(acme: Any, api_for: Any) -> None:
    first, second = publish(acme, "probe/1"), publish(acme, "probe/2")
    with tenant_context(acme):
        number_events()

    results = api_for(acme, permissions=("event:view",)).get("/api/v2/events").json()["results"]

    assert [event["id"] for event in results[:2]] == [second, first]
    assert results[0]["specversion"] == "1.0"
    assert results[0]["type"] == "com.analytics-portal.probe.sent.v1"
    assert int(results[0]["sequence"]) == int(results[1]["sequence"]) + 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"type": "probe.sent.v1"}, {0, 1}),
        ({"type": "com.analytics-portal.alarm.raised.v1"}, {2}),
        ({"type": "alarm.*"}, {2}),
        ({"subject": "probe/1"}, {0}),
        ({"subject": "probe/*"}, {0, 1}),
        ({"type": "probe.*", "subject": "alarm/1"}, set()),
    ],
)
def test_filters(acme: Any, api_for: Any, query: dict[str, str], expected: set[int]) -> None:
    made = [publish(acme, "probe/1"), publish(acme, "probe/2"), publish(acme, "alarm/1", "alarm.raised.v1")]

    found = set(ids(api_for(acme, permissions=("event:view",)).get("/api/v2/events", query))) & set(made)

    assert found == {made[index] for index in expected}


def test_a_span_of_time(acme: Any, api_for: Any) -> None:
    event_id = publish(acme, "probe/1")
    client = api_for(acme, permissions=("event:view",))
    before, after = (now() - timedelta(minutes=1)).isoformat(), (now() + timedelta(minutes=1)).isoformat()

    assert event_id in ids(client.get("/api/v2/events", {"from": before, "to": after}))
    assert event_id not in ids(client.get("/api/v2/events", {"from": after}))
    assert event_id not in ids(client.get("/api/v2/events", {"to": before}))


def test_paging_visits_each_event_once(acme: Any, api_for: Any) -> None:
    subject = f"page/{uuid7()}"
    made = [publish(acme, subject) for _ in range(7)]
    client = api_for(acme, permissions=("event:view",))
    seen: list[str] = []
    address = f"/api/v2/events?subject={subject}&limit=3"
    while address:
        page = client.get(address)
        seen += ids(page)
        address = page.json()["next"]

    assert seen == made[::-1]


def test_it_needs_the_permission(acme: Any, api_for: Any, client: Any) -> None:
    for address in ("/api/v2/events", "/api/v2/event-types"):
        assert api_for(acme, permissions=("flow:view",)).get(address).status_code == 403
        assert client.get(address, headers={"host": "acme.localhost"}).status_code in (401, 403)


def test_the_second_tenant_sees_none_of_it(acme: Any, globex: Any, api_for: Any) -> None:
    event_id = publish(acme, "probe/1")

    assert event_id not in ids(api_for(globex, permissions=("event:view",)).get("/api/v2/events", {"limit": 200}))


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_it_cannot_be_changed(acme: Any, api_for: Any, method: str) -> None:
    assert getattr(api_for(acme, roles=("admin",)), method)("/api/v2/events").status_code == 405


def test_the_catalogue_names_every_type_with_its_schema(acme: Any, api_for: Any) -> None:
    results = api_for(acme, permissions=("event:view",)).get("/api/v2/event-types").json()["results"]

    [probe] = [item for item in results if item["type"] == "com.analytics-portal.probe.sent.v1"]
    assert probe["description"] == "A test sent a probe."
    assert probe["schema"]["required"] == ["number"]
    assert [item["type"] for item in results] == sorted(item["type"] for item in results)
