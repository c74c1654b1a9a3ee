"""/api/v2/event-subscriptions and /event-deliveries."""

from __future__ import annotations

from typing import Any

import pytest

from apps.events.choices import DeliveryStatus
from apps.events.models import Delivery
from apps.tenancy.services.context import tenant_context
from apps.vault.services.secrets import reveal_secrets
from tests.events.hooks import fan_out, publish, subscribe

ROOT = "/api/v2/event-subscriptions"
DELIVERIES = "/api/v2/event-deliveries"
NOBODY = "0190a5a0-0000-7000-8000-000000000000"  # known before collection, so that every worker has the same names
BODY = {"name": "Billing", "types": ["probe.*"], "config": {"url": "https://example.com/hook"}}


def create(client: Any, **changes: Any) -> dict[str, Any]:
    answer = client.post(ROOT, {**BODY, **changes}, format="json")
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_the_secret_is_shown_once_and_kept_in_the_vault(acme: Any, api_for: Any) -> None:
    client = api_for(acme)
    made = create(client)
    assert made["secret"].startswith("whsec_")

    text = client.get(f"{ROOT}/{made['id']}").content.decode() + client.get(ROOT).content.decode()
    assert made["secret"] not in text
    assert client.get(f"{ROOT}/{made['id']}").json()["health"]["state"] == "unknown"
    with tenant_context(acme):
        assert list(reveal_secrets("event_subscription", made["id"], purpose="tests.look").values()) == [made["secret"]]


def test_rotation_shows_the_new_secret_once(acme: Any, api_for: Any) -> None:
    client = api_for(acme)
    made = create(client)
    rotated = client.post(f"{ROOT}/{made['id']}/rotate-secret", {"overlap_s": 3600}, format="json").json()

    assert rotated["secret"] != made["secret"]
    assert [key["expires_at"] is None for key in rotated["signing_keys"]] == [True, False]
    leaked = client.post(f"{ROOT}/{made['id']}/rotate-secret", {"overlap_s": 0}, format="json").json()
    assert len(leaked["signing_keys"]) == 1


def test_a_subscription_lives_through_its_states(acme: Any, api_for: Any) -> None:
    client = api_for(acme)
    address = f"{ROOT}/{create(client)['id']}"
    assert client.post(f"{address}/pause", {"reason": "tea"}, format="json").json()["status"] == "paused"
    assert client.post(f"{address}/pause", {}, format="json").status_code == 409
    assert client.post(f"{address}/test").status_code == 409
    assert client.post(f"{address}/resume").json()["status"] == "active"
    changed = client.patch(address, {"filter": "data->>'number' = '1'"}, format="json").json()
    assert (changed["filter"], changed["name"]) == ("data->>'number' = '1'", "Billing")
    assert client.post(f"{address}/test").status_code == 202
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404
    assert client.post(f"{address}/resume").status_code == 404


def test_problems_name_their_place(acme: Any, api_for: Any) -> None:
    answer = api_for(acme).post(
        ROOT, {**BODY, "filter": "nothing = 1", "config": {"url": "http://127.0.0.1.nip.io@x"}}, format="json"
    )
    assert answer.status_code == 422
    assert {problem["path"] for problem in answer.json()["problems"]} == {"filter", "config.url"}
    create(api_for(acme))
    again = api_for(acme).post(ROOT, BODY, format="json")
    assert again.json()["problems"][0]["code"] == "events.name_taken"


def test_deliveries_are_listed_shown_and_sent_again(acme: Any, api_for: Any) -> None:
    client = api_for(acme)
    with tenant_context(acme):
        row = subscribe()
        publish(1, 2)
        fan_out()
        Delivery.objects.filter(subscription=row).update(status=DeliveryStatus.DEAD, attempts=10, error="no")
    listed = client.get(DELIVERIES, {"subscription": str(row.id), "status": "dead"}).json()["results"]
    assert [one["event_type"] for one in listed] == ["com.analytics-portal.probe.sent.v1"] * 2
    assert client.get(f"{ROOT}/{row.id}").json()["health"]["dead"] == 2

    one = client.post(f"{DELIVERIES}/{listed[0]['id']}/redeliver").json()
    assert one["status"] == "pending"
    assert one["cloudevent"]["data"] == {"number": 2}
    assert client.post(f"{ROOT}/{row.id}/redrive", {}, format="json").json() == {"count": 1}
    assert client.post(f"{ROOT}/{row.id}/discard", {"reason": "x"}, format="json").json() == {"count": 0}


def test_replay_by_preview(acme: Any, api_for: Any) -> None:
    client = api_for(acme)
    with tenant_context(acme):
        row = subscribe()
        publish(1, 2)
        fan_out()
    preview = client.post(f"{ROOT}/{row.id}/replay-preview", {"types": ["probe.*"]}, format="json").json()
    span = {name: preview[name] for name in ("first_position", "last_position")}
    refused = client.post(f"{ROOT}/{row.id}/replay", {**span, "expected_count": 99_999}, format="json")
    assert refused.status_code == 409
    done = client.post(f"{ROOT}/{row.id}/replay", {**span, "expected_count": preview["count"]}, format="json")
    assert done.status_code == 202
    assert client.get(DELIVERIES, {"replay": done.json()["id"]}).json()["results"]


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("get", ROOT, "webhook:view"),
        ("post", ROOT, "webhook:edit"),
        ("get", DELIVERIES, "webhook:view"),
        ("post", f"{ROOT}/{NOBODY}/replay-preview", "event:replay"),
        ("post", f"{DELIVERIES}/{NOBODY}/redeliver", "event:replay"),
    ],
)
def test_each_address_needs_its_permission(acme: Any, api_for: Any, method: str, path: str, needed: str) -> None:
    answer = getattr(api_for(acme, permissions=("event:view",)), method)(path, BODY, format="json")
    assert answer.status_code == 403
    assert answer.json()["facts"]["permission"] == needed


def test_the_second_tenant_finds_nothing(acme: Any, globex: Any, api_for: Any) -> None:
    made = create(api_for(acme))
    with tenant_context(acme):
        publish(1)
        fan_out()
        delivery = Delivery.objects.filter(subscription=made["id"]).get()
    stranger = api_for(globex)
    assert stranger.get(ROOT).json()["results"] == []
    for path in ("", "/pause", "/resume", "/test", "/rotate-secret", "/redrive", "/replay-preview"):
        answer = (
            stranger.post(f"{ROOT}/{made['id']}{path}", {}, format="json")
            if path
            else stranger.get(f"{ROOT}/{made['id']}")
        )
        assert answer.status_code == 404, path
    assert stranger.get(f"{DELIVERIES}/{delivery.id}").status_code == 404
    assert stranger.get(f"/api/v2/events/{delivery.event_id}").status_code == 404
    assert api_for(acme).get(f"/api/v2/events/{delivery.event_id}").status_code == 200
