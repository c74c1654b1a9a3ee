"""Subscriptions: what is queued for whom, in which order, and what attempts make of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.audit.models import AuditEntry
from apps.core.clock import now
from apps.events.choices import DeliveryStatus, SubscriptionStatus
from apps.events.contracts import SendResult
from apps.events.exceptions import DeliveryOpen, ReplayChanged, ReplayTooLarge, SubscriptionInvalid
from apps.events.models import Delivery, Event, EventSubscription
from apps.events.services import attempts, replays, subscriptions
from apps.events.services.attempts import SCHEDULE_S, Claim, Outcome, claim_deliveries, settle_attempts
from apps.events.services.deliveries import discard_deliveries, redeliver, redrive_deliveries
from apps.events.services.retention import purge_events
from apps.tenancy.services.context import tenant_context
from tests.events.hooks import SYSTEM, deliveries, fan_out, publish, subscribe

GOOD = SendResult(True, 204)
BAD = SendResult(False, 500, "The endpoint answered 500.")

pytestmark = pytest.mark.usefixtures("as_acme")


def claim(**options: Any) -> list[Claim]:
    return claim_deliveries(**{"limit": 100, "in_flight": {}, **options})


def attempt(result: SendResult = BAD, **options: Any) -> list[Claim]:
    claims = claim(**options)
    settle_attempts([Outcome(found, result) for found in claims])
    return claims


def pass_time(subscription: EventSubscription) -> None:
    """Make what waits for a retry due."""
    Delivery.objects.filter(subscription=subscription, next_attempt_at__isnull=False).update(
        next_attempt_at=F("next_attempt_at") - timedelta(days=2)
    )
    EventSubscription.objects.filter(id=subscription.id).update(hold_until=None)


def numbers(subscription: EventSubscription, *statuses: str) -> list[int]:
    return [one.event.data["number"] for one in deliveries(subscription) if not statuses or one.status in statuses]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"types": ["*"]}, [1, 2, 3]),
        ({"types": ["probe.*"]}, [1, 2, 3]),
        ({"types": ["com.analytics-portal.probe.sent.v1"]}, [1, 2, 3]),
        ({"types": ["alarm.*"]}, []),
        ({"filter": "CAST(data->>'number' AS INTEGER) >= 2"}, [2, 3]),
        ({"filter": "data->>'producer' = 'x'"}, []),  # NULL is not true
        ({"filter": "subject = 'probe/1' and partitionkey = 'k'"}, [1, 2, 3]),
    ],
)
def test_a_subscription_gets_what_it_wants(settings: dict[str, Any], expected: list[int]) -> None:
    row = subscribe(**settings)
    publish(1, 2, 3)
    fan_out()

    assert numbers(row) == expected


def test_each_event_is_queued_once() -> None:
    row = subscribe()
    publish(1, 2)
    fan_out()
    fan_out()

    assert numbers(row) == [1, 2]


def test_a_filter_without_a_value_makes_a_dead_letter_that_says_why() -> None:
    row = subscribe(filter="CAST(data->>'producer' AS INTEGER) = 1")
    publish(1, producer="abc")
    fan_out()

    [letter] = deliveries(row)
    assert letter.status == DeliveryStatus.DEAD
    assert "filter" in letter.error

    subscriptions.update_subscription(row.id, filter="", actor=SYSTEM)
    assert redrive_deliveries(row.id, actor=SYSTEM) == 1
    assert len(claim()) == 1


def test_a_lane_sends_one_after_the_other_and_lanes_do_not_wait_for_each_other() -> None:
    row = subscribe()
    publish(1, 2, key="a")
    publish(3, 4, key="b")
    fan_out()

    first = attempt(GOOD)
    second = attempt(GOOD)

    assert [[found.event[7]["number"] for found in claims] for claims in (first, second)] == [[1, 3], [2, 4]]
    assert attempt(GOOD) == []
    assert {one.status for one in deliveries(row)} == {DeliveryStatus.DELIVERED}


def test_the_key_expression_makes_the_lanes() -> None:
    subscribe(key_expression="data->>'producer'")
    publish(1, key="a", producer="x")
    publish(2, key="b", producer="x")
    publish(3, key="c", producer="y")
    fan_out()

    assert sorted(found.event[7]["number"] for found in claim()) == [1, 3]


def test_without_order_everything_is_due_at_once() -> None:
    subscribe(ordered=False)
    publish(1, 2, 3)
    fan_out()

    assert len(claim()) == 3


def test_a_failing_delivery_holds_back_its_lane_and_follows_the_schedule() -> None:
    row = subscribe()
    publish(1, 2)
    fan_out()
    for failure, delay_s in enumerate(SCHEDULE_S[1:], start=1):
        before = now()
        assert [found.event[7]["number"] for found in attempt()] == [1]
        letter = deliveries(row)[0]
        waits_s = (letter.next_attempt_at - before).total_seconds()
        assert letter.status == DeliveryStatus.FAILED
        assert letter.failures == failure
        assert delay_s * 0.9 <= waits_s <= delay_s * 1.1 + 5
        assert claim() == []
        pass_time(row)
    attempt()

    assert [one.status for one in deliveries(row)] == [DeliveryStatus.DEAD, DeliveryStatus.PENDING]
    assert len(claim()) == 1, "a dead letter lets its lane go on"


def test_a_dead_letter_can_block_its_lane_until_it_is_decided(monkeypatch: Any) -> None:
    monkeypatch.setattr(attempts, "SCHEDULE_S", (0,))
    row = subscribe(block_on_dead=True)
    publish(1, 2, 3)
    fan_out()
    attempt()
    assert claim() == []

    assert redrive_deliveries(row.id, actor=SYSTEM) == 1
    assert [found.event[7]["number"] for found in attempt()] == [1]
    assert claim() == []

    assert discard_deliveries(row.id, reason="not needed", actor=SYSTEM) == 1
    assert [found.event[7]["number"] for found in attempt(GOOD)] == [2]
    assert [found.event[7]["number"] for found in attempt(GOOD)] == [3]


def test_a_claim_whose_lease_ended_is_taken_over_and_the_late_result_is_refused() -> None:
    row = subscribe()
    publish(1)
    fan_out()
    [late] = claim()
    assert claim() == []
    pass_time(row)
    [second] = claim()

    assert second.attempt == late.attempt + 1
    assert settle_attempts([Outcome(late, BAD)]) == 0
    assert settle_attempts([Outcome(second, GOOD)]) == 1
    assert deliveries(row)[0].status == DeliveryStatus.DELIVERED


def test_a_failing_endpoint_gets_one_attempt_at_a_time_and_others_their_room() -> None:
    bad, good = subscribe(ordered=False), subscribe(ordered=False)
    publish(1)
    fan_out()
    claims = claim()
    settle_attempts([Outcome(one, BAD if one.subscription_id == bad.id else GOOD) for one in claims])
    publish(*range(40))
    fan_out()

    claimed = [one.subscription_id for one in claim()]

    assert claimed.count(bad.id) == 1
    assert claimed.count(good.id) == 32
    assert claim(in_flight={bad.id: 1, good.id: 32}) == []


def test_retry_after_holds_the_whole_endpoint() -> None:
    row = subscribe(ordered=False)
    publish(1, 2)
    fan_out()
    [first] = claim(limit=1)
    settle_attempts([Outcome(first, SendResult(False, 429, "busy", retry_after_s=600.0))])

    assert claim() == []
    row.refresh_from_db()
    assert row.hold_until - now() > timedelta(minutes=9)
    waiting = Delivery.objects.get(id=first.delivery_id)
    assert waiting.next_attempt_at - now() > timedelta(minutes=9)


def test_gone_disables_at_once() -> None:
    row = subscribe()
    publish(1, 2)
    fan_out()
    attempt(SendResult(False, 410, "gone", gone=True))

    row.refresh_from_db()
    assert row.status == SubscriptionStatus.DISABLED
    assert "410" in row.status_reason
    assert claim() == []
    assert Event.objects.filter(type__endswith="subscription.disabled.v1", subject__endswith=str(row.id)).exists()
    assert AuditEntry.objects.filter(action="events.subscription.disabled", target_id=str(row.id)).exists()


def test_five_days_of_failures_disable_and_one_success_starts_the_count_anew() -> None:
    row = subscribe(ordered=False)
    publish(1)
    fan_out()
    attempt()
    EventSubscription.objects.filter(id=row.id).update(failing_since=now() - timedelta(days=4))
    pass_time(row)
    attempt()
    row.refresh_from_db()
    assert row.status == SubscriptionStatus.ACTIVE

    pass_time(row)
    attempt(GOOD)
    row.refresh_from_db()
    assert (row.failing_since, row.failures, row.last_error) == (None, 0, "")

    publish(2)
    fan_out()
    attempt()
    EventSubscription.objects.filter(id=row.id).update(failing_since=now() - timedelta(days=5, hours=1))
    pass_time(row)
    attempt()
    row.refresh_from_db()
    assert row.status == SubscriptionStatus.DISABLED


def test_pause_collects_and_resume_sends() -> None:
    row = subscribe()
    subscriptions.pause_subscription(row.id, reason="maintenance", actor=SYSTEM)
    publish(1, 2)
    fan_out()
    assert claim() == []
    assert len(deliveries(row)) == 2

    subscriptions.resume_subscription(row.id, actor=SYSTEM)
    assert len(claim()) == 1


def test_disabled_collects_nothing_and_replay_brings_it() -> None:
    row = subscribe()
    publish(1)
    fan_out()
    attempt(SendResult(False, 410, "gone", gone=True))
    publish(2, 3)
    fan_out()
    assert numbers(row) == [1]

    row = subscriptions.resume_subscription(row.id, actor=SYSTEM)
    wanted = replays.ReplayRange(first_position=row.disabled_position + 1)
    preview = replays.preview_replay(row.id, wanted, actor=SYSTEM)
    assert preview.count == 2
    assert [event.data["number"] for event in preview.sample] == [2, 3]
    replay = replays.start_replay(row.id, wanted, expected_count=2, actor=SYSTEM)
    assert Delivery.objects.filter(replay=replay).count() == 2


def test_a_replay_is_what_the_preview_showed_or_nothing() -> None:
    row = subscribe(filter="CAST(data->>'number' AS INTEGER) > 1")
    publish(1, 2, 3)
    fan_out()
    attempt(GOOD)
    attempt(GOOD)
    wanted = replays.ReplayRange(since=now() - timedelta(minutes=1), types=("probe.sent.v1",))
    assert replays.preview_replay(row.id, wanted, actor=SYSTEM).count == 2

    with pytest.raises(ReplayChanged):
        replays.start_replay(row.id, wanted, expected_count=1, actor=SYSTEM)
    assert claim() == []

    replays.start_replay(row.id, wanted, expected_count=2, actor=SYSTEM)
    assert [found.event[7]["number"] for found in attempt(GOOD)] == [2]
    assert [found.event[7]["number"] for found in attempt(GOOD)] == [3]


def test_a_replay_has_a_bound(monkeypatch: Any) -> None:
    monkeypatch.setattr(replays, "MAX_EVENTS", 2)
    row = subscribe()
    publish(1, 2, 3)
    fan_out()
    with pytest.raises(ReplayTooLarge):
        replays.preview_replay(row.id, replays.ReplayRange(), actor=SYSTEM)


def test_redelivery_sends_again_and_waits_its_turn() -> None:
    row = subscribe()
    publish(1, 2)
    fan_out()
    attempt(GOOD)
    [first, second] = deliveries(row)
    with pytest.raises(DeliveryOpen):
        redeliver(second.id, actor=SYSTEM)

    redeliver(first.id, actor=SYSTEM)

    assert [found.event[7]["number"] for found in attempt(GOOD)] == [2]
    assert [found.event[7]["number"] for found in attempt(GOOD)] == [1]
    assert [one.number for one in first.attempt_rows.all()] == [2, 1]


def test_a_test_event_reaches_the_named_subscription_only() -> None:
    named, other = subscribe(types=["alarm.*"]), subscribe(types=["*"])
    subscriptions.test_subscription(named.id, actor=SYSTEM)
    fan_out()

    assert [one.event.type.endswith("subscription.tested.v1") for one in deliveries(named)] == [True]
    assert deliveries(other) == []


def test_archiving_ends_everything() -> None:
    row = subscribe()
    publish(1)
    fan_out()
    subscriptions.archive_subscription(row.id, actor=SYSTEM)
    publish(2)
    fan_out()

    assert claim() == []
    assert numbers(row) == [1]
    subscriptions.create_subscription(row.name, target="webhook", config=row.config, actor=SYSTEM)


def test_what_is_to_be_delivered_is_not_purged() -> None:
    row = subscribe()
    publish(1, 2)
    fan_out()
    attempt(GOOD)

    purge_events(older_than=timedelta(seconds=-60))

    assert numbers(row) == [2]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"types": []}, "types"),
        ({"types": ["a b"]}, "types[0]"),
        ({"filter": "data->>'x'"}, "filter"),  # text is no condition
        ({"filter": "nothing = 1"}, "filter"),
        ({"key_expression": "1 +"}, "key_expression"),
        ({"config": {"url": "ftp://example.com"}}, "config.url"),
        ({"config": {"url": "https://user:secret@example.com/"}}, "config.url"),
        ({"config": {"url": "http://169.254.169.254/latest"}}, "config.url"),
        ({"config": {"url": "https://example.com", "headers": {"Webhook-Id": "x"}}}, "config.headers.Webhook-Id"),
        ({"config": {"url": "https://example.com", "headers": {"x": "a\r\nb"}}}, "config.headers.x"),
        ({"config": {"url": "https://example.com", "method": "GET"}}, "config.method"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], path: str) -> None:
    options = {"target": "webhook", "config": {"url": "https://example.com"}, **settings}
    with pytest.raises(SubscriptionInvalid) as caught:
        subscriptions.create_subscription("bad", actor=SYSTEM, **options)
    assert path in [problem.path for problem in caught.value.problems]


def test_plain_http_is_for_development_only(settings: Any) -> None:
    settings.WEBHOOKS_ALLOW_HTTP = False
    with pytest.raises(SubscriptionInvalid, match="https"):
        subscribe("http://example.com/hook")


def test_writing_needs_the_permission() -> None:
    nobody = Actor("user", None, "nobody", frozenset({"webhook:view", "event:view", "secret:write"}))
    row = subscribe()
    for write in (
        lambda: subscriptions.create_subscription("x", target="webhook", config={}, actor=nobody),
        lambda: subscriptions.update_subscription(row.id, name="x", actor=nobody),
        lambda: subscriptions.pause_subscription(row.id, actor=nobody),
        lambda: subscriptions.resume_subscription(row.id, actor=nobody),
        lambda: subscriptions.rotate_secret(row.id, actor=nobody),
        lambda: subscriptions.test_subscription(row.id, actor=nobody),
        lambda: subscriptions.archive_subscription(row.id, actor=nobody),
        lambda: redrive_deliveries(row.id, actor=nobody),
        lambda: replays.preview_replay(row.id, replays.ReplayRange(), actor=nobody),
    ):
        with pytest.raises(PermissionDenied):
            write()


def test_the_second_tenants_events_are_not_queued(globex: Any) -> None:
    row = subscribe(types=["*"])
    with tenant_context(globex):
        publish(1)
        fan_out()
    fan_out()

    assert deliveries(row) == []
