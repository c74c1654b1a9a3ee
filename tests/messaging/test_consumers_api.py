"""`/api/v2/consumers` and `/dead-letters`: rights, checks with a path, paging, audit, problem documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from apps.audit.models import AuditEntry
from apps.connectors.services.connections import create_connection
from apps.messaging.models import Consumer
from apps.messaging.services.keeping import keep_messages
from apps.messaging.services.leases import claim_consumers
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.messaging.consumers import SYSTEM, idle_connection, message

URL = "/api/v2/consumers"


@pytest.fixture
def slug(acme: Tenant) -> str:
    with tenant_context(acme):
        return idle_connection()


def body(slug: str, **changes: Any) -> dict[str, Any]:
    return {"name": "Orders", "environment": "dev", "connection": slug, "source": "ORDERS/orders.>", **changes}


def test_a_consumer_is_created_paused_changed_and_deleted(acme: Tenant, api_for: Callable[..., Any], slug: str) -> None:
    api = api_for(acme)
    made = api.post(URL, body(slug))
    assert made.status_code == 201, made.json()
    found = made.json()
    assert (found["status"], found["event_type"], found["dead"]) == (
        "active",
        "com.analytics-portal.message.received.v1",
        0,
    )
    one = f"{URL}/{found['id']}"
    assert api.patch(one, {"filter": "body->>'a' = 'b'", "max_per_second": 5}).json()["max_per_second"] == 5
    paused = api.post(f"{one}/pause", {"reason": "stocktaking"}).json()
    assert (paused["status"], paused["status_reason"]) == ("paused", "stocktaking")
    assert api.get(f"{URL}?status=paused").json()["results"][0]["id"] == found["id"]
    assert api.get(f"{URL}?status=active").json()["results"] == []
    assert api.post(f"{one}/resume").json()["status"] == "active"
    assert api.delete(one).status_code == 204
    assert api.get(one).status_code == 404
    assert api.post(URL, body(slug)).status_code == 201
    with tenant_context(acme):
        verbs = AuditEntry.objects.filter(target_id=found["id"]).order_by("id").values_list("action", flat=True)
        assert list(verbs) == [f"consumer.{verb}" for verb in ("created", "updated", "paused", "resumed", "deleted")]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"connection": "nowhere"}, "connection"),
        ({"connection": "warehouse"}, "connection"),
        ({"source": " "}, "source"),
        ({"event_type": "run.completed.v1"}, "event_type"),
        ({"event_type": "com.acme.unheard.v1"}, "event_type"),
        ({"filter": "body->>"}, "filter"),
        ({"filter": "source"}, "filter"),
        ({"key_expression": "nothing"}, "key_expression"),
        ({"max_per_second": 0}, "max_per_second"),
        ({"format": "xml"}, "format"),
        ({"environment": "moon"}, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_work_is_refused_at_its_place(
    acme: Tenant, api_for: Callable[..., Any], slug: str, change: dict[str, Any], path: str | None
) -> None:
    answer = api_for(acme).post(URL, body(slug, **change))
    assert answer.status_code == (422 if path else 404), answer.json()
    if path:
        assert path in {one["path"] for one in answer.json()["problems"]}


def test_a_connection_that_cannot_be_consumed_says_which_can(
    acme: Tenant, api_for: Callable[..., Any], slug: str
) -> None:
    with tenant_context(acme):
        config = {"base_url": "https://api.example.com", "resources": [{"name": "a", "path": "a"}]}
        rest = create_connection(f"rest {uuid4().hex[:6]}", "rest", config=config, actor=SYSTEM).slug
    [problem] = api_for(acme).post(URL, body(rest)).json()["problems"]
    assert "NATS JetStream" in problem["hint"]


def test_names_are_unique_and_consumers_bounded(
    acme: Tenant, api_for: Callable[..., Any], slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_for(acme)
    api.post(URL, body(slug))
    assert api.post(URL, body(slug)).json()["problems"][0]["code"] == "messaging.name_taken"
    monkeypatch.setattr("apps.messaging.services.editing.MAX_CONSUMERS", 1)
    assert api.post(URL, body(slug, name="Another")).json()["code"] == "messaging.consumer_invalid"


def test_dead_letters_show_their_reason_and_their_body_to_inspectors(
    acme: Tenant, globex: Tenant, api_for: Callable[..., Any], slug: str
) -> None:
    api = api_for(acme)
    consumer_id = api.post(URL, body(slug)).json()["id"]
    with tenant_context(acme):
        [lease] = [one for one in claim_consumers(100, owner="t") if str(one.consumer_id) == consumer_id]
        keep_messages(lease.consumer_id, lease.fence, [message(b"no %d" % n, headers={"a": "b"}) for n in range(3)])
    letters = f"{URL}/{consumer_id}/dead-letters"
    page = api.get(f"{letters}?limit=2").json()
    assert (len(page["results"]), page["results"][0]["code"], bool(page["next"])) == (2, "messaging.not_json", True)
    letter_id = page["results"][0]["id"]
    detail = api.get(f"/api/v2/dead-letters/{letter_id}").json()
    assert (detail["body"], detail["headers"], detail["is_complete"]) == ("no 2", {"a": "b"}, True)
    refused = api.post(f"/api/v2/dead-letters/{letter_id}/redeliver")
    assert (refused.status_code, refused.json()["code"]) == (422, "messaging.message_refused")
    assert api.post(f"/api/v2/dead-letters/{letter_id}/discard").json()["status"] == "discarded"
    again = api.post(f"/api/v2/dead-letters/{letter_id}/discard")
    assert (again.status_code, again.json()["code"]) == (409, "messaging.letter_settled")
    assert api.post(f"{URL}/{consumer_id}/redeliver").json() == {"redelivered": 0, "dead": 2}
    assert api.get(f"{URL}/{consumer_id}").json()["dead"] == 2
    assert len(api.get(f"{letters}?status=discarded").json()["results"]) == 1
    viewer, stranger = api_for(acme, roles=("viewer",)), api_for(globex)
    assert viewer.get(letters).status_code == 200
    assert viewer.get(f"/api/v2/dead-letters/{letter_id}").status_code == 403
    for act in (f"{URL}/{consumer_id}/pause", f"/api/v2/dead-letters/{letter_id}/redeliver"):
        assert viewer.post(act).status_code == 403
        assert stranger.post(act).status_code == 404
    assert stranger.get(letters).status_code == 404
    with tenant_context(globex):
        assert Consumer.objects.count() == 0
