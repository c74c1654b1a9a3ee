"""Webhooks out, over real sockets: signatures, rotation, redirects, hanging and flooding endpoints, kills."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from apps.core.clock import now
from apps.events.choices import DeliveryStatus
from apps.events.models import Delivery, DeliveryAttempt, EventSubscription
from apps.events.services import subscriptions
from apps.events.services.signatures import build_headers, make_secret
from apps.events.services.webhook_target import parse_retry_after
from apps.tenancy.services.context import tenant_context
from tests.events.hooks import (
    SYSTEM,
    Receiver,
    deliveries,
    dispatching,
    eventually,
    fan_out,
    publish,
    receiving,
    subscribe,
    subscribe_with_secret,
)

pytestmark = pytest.mark.committed


@pytest.fixture
def receiver(committed_acme: Any) -> Iterator[Receiver]:
    with receiving() as found, tenant_context(committed_acme):
        yield found
        for row in EventSubscription.objects.exclude(status="archived"):
            subscriptions.archive_subscription(row.id, actor=SYSTEM)


def all_settled(row: EventSubscription, count: int) -> bool:
    return Delivery.objects.filter(subscription=row, attempts__gt=0).exclude(status="delivering").count() >= count


def make_due(row: EventSubscription) -> None:
    Delivery.objects.filter(subscription=row, next_attempt_at__isnull=False).update(
        next_attempt_at=F("next_attempt_at") - timedelta(days=3)
    )


def test_a_delivery_is_a_signed_cloudevent(receiver: Receiver) -> None:
    row, secret = subscribe_with_secret(receiver.url())
    with dispatching():
        publish(1, producer="Zoë ✓")
        fan_out()
        eventually(lambda: all_settled(row, 1))

    [request] = receiver.of()
    Webhook(secret).verify(request.body, request.headers)
    event = json.loads(request.body)
    assert event["data"] == {"number": 1, "producer": "Zoë ✓"}
    assert event["id"] == request.headers["webhook-id"]
    assert request.headers["content-type"] == "application/cloudevents+json"
    [attempt] = DeliveryAttempt.objects.filter(delivery__subscription=row)
    assert (attempt.ok, attempt.response_status) == (True, 204)


def test_during_a_rotation_both_secrets_verify_and_afterwards_only_the_new_one(receiver: Receiver) -> None:
    row, old = subscribe_with_secret(receiver.url())
    _row, new = subscriptions.rotate_secret(row.id, overlap=timedelta(hours=1), actor=SYSTEM)
    with dispatching():
        publish(1)
        fan_out()
        eventually(lambda: len(receiver.of()) == 1)
        first = receiver.of()[0]
        assert len(first.headers["webhook-signature"].split()) == 2
        Webhook(old).verify(first.body, first.headers)
        Webhook(new).verify(first.body, first.headers)

        row.refresh_from_db()
        row.signing_keys[1]["expires_at"] = (now() - timedelta(seconds=1)).isoformat()
        EventSubscription.objects.filter(id=row.id).update(signing_keys=row.signing_keys)
        publish(2)
        fan_out()
        eventually(lambda: len(receiver.of()) == 2)
    second = receiver.of()[1]
    Webhook(new).verify(second.body, second.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(second.body, second.headers)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_failures_and_never_followed(receiver: Receiver, status: int) -> None:
    async def redirect(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": receiver.url("/elsewhere")})

    receiver.answers["/hook"] = redirect
    row = subscribe(receiver.url())
    with dispatching():
        publish(1)
        fan_out()
        eventually(lambda: all_settled(row, 1))

    [letter] = deliveries(row)
    assert (letter.status, letter.response_status) == (DeliveryStatus.FAILED, status)
    assert receiver.of("/elsewhere") == []


def test_an_endpoint_that_hangs_or_floods_delays_nobody(receiver: Receiver) -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1024):
            await response.write(b"x" * 1024**2)
        return response

    receiver.answers |= {"/hang": hang, "/flood": flood, "/broken": 500}
    bad = [subscribe(receiver.url(path), ordered=False) for path in ("/hang", "/flood", "/broken")]
    good = [subscribe(receiver.url(f"/good{number}")) for number in range(5)]
    with dispatching():
        began = time.monotonic()
        for number in range(10):
            publish(number)
        fan_out()
        for row in good:
            eventually(lambda row=row: Delivery.objects.filter(subscription=row, status="delivered").count() == 10)
        took_s = time.monotonic() - began
        assert Delivery.objects.filter(subscription=bad[0], status="delivered").count() == 0
        eventually(lambda: Delivery.objects.filter(subscription=bad[1], status="delivered").exists())
    assert took_s < 14, "it waited for the one that hangs"
    excerpt = DeliveryAttempt.objects.filter(delivery__subscription=bad[1]).first()
    assert excerpt is not None and len(excerpt.excerpt) == 1000


def test_a_receiver_that_was_down_gets_everything_in_order(receiver: Receiver) -> None:
    row = subscribe(receiver.url())
    receiver.answers["/hook"] = 503
    with dispatching():
        publish(*range(20))
        fan_out()
        for failures in range(1, 4):
            eventually(lambda failures=failures: deliveries(row)[0].failures == failures)
            make_due(row)
        receiver.answers["/hook"] = 200
        make_due(row)
        eventually(lambda: Delivery.objects.filter(subscription=row, status="delivered").count() == 20)

    seen = [json.loads(one.body)["data"]["number"] for one in receiver.of()]
    assert [number for index, number in enumerate(seen) if number not in seen[:index]] == list(range(20))


def test_a_private_address_is_not_called(receiver: Receiver, settings: Any) -> None:
    row = subscribe(receiver.url())
    settings.EGRESS_ALLOW_PRIVATE = []
    with dispatching():
        publish(1)
        fan_out()
        eventually(lambda: all_settled(row, 1))

    assert receiver.requests == []
    assert deliveries(row)[0].error.startswith("core.egress.denied")


def test_the_second_tenants_secret_does_not_verify(receiver: Receiver, committed_globex: Any) -> None:
    row, _secret = subscribe_with_secret(receiver.url())
    with tenant_context(committed_globex):
        other, foreign = subscribe_with_secret("https://example.com/globex")
        subscriptions.archive_subscription(other.id, actor=SYSTEM)
    with dispatching():
        publish(1)
        fan_out()
        eventually(lambda: all_settled(row, 1))
    [request] = receiver.of()
    with pytest.raises(WebhookVerificationError):
        Webhook(foreign).verify(request.body, request.headers)


@given(
    text=st.text(),
    message_id=st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True),
    bit=st.integers(min_value=0),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_official_library_verifies_what_is_signed_and_refuses_one_changed_bit(
    text: str, message_id: str, bit: int
) -> None:
    body = json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    secrets = [make_secret(), make_secret()]
    headers = build_headers(secrets, message_id=message_id, timestamp=int(time.time()), body=body)
    try:
        body.decode()
    except UnicodeDecodeError:
        return  # the library reads bodies as UTF-8
    for secret in secrets:
        Webhook(secret).verify(body, headers)
    changed = bytearray(body)
    changed[bit // 8 % len(body)] ^= 1 << bit % 8
    with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
        Webhook(secrets[0]).verify(bytes(changed), headers)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("120", 120.0),
        ("999999999999999", 86_400.0),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("-5", None),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value) == expected
