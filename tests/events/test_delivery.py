"""Delivery to one subscriber: order per key, parking, back-off, redrive."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.core.exceptions import TransientError
from apps.core.ids import uuid7
from apps.events.choices import ParkedStatus
from apps.events.contracts import EventRecord, RetryPolicy
from apps.events.exceptions import SubscriberUnknown
from apps.events.models import Event, ParkedEvent, Subscription
from apps.events.services.numbering import number_events
from apps.events.services.outbox import publish_event
from apps.events.services.redrive import redrive_events, skip_events
from apps.tenancy.services.context import tenant_context
from tests.events.factories import Recorder, visit

SYSTEM = Actor.system("tests")


@pytest.fixture
def log(as_acme: Any) -> Any:
    """A tenant whose former events every new recorder skips."""
    while number_events().more:
        pass
    return as_acme


def recorder(fault: Any = None, **options: Any) -> Recorder:
    item = Recorder(f"test.{uuid7()}", fault, from_beginning=False, **options)
    visit(item)
    return item


def publish(*numbers: int, key: str = "k", type_: str = "probe.sent.v1") -> None:
    for number in numbers:
        publish_event(type_, subject=f"probe/{number}", key=key, data={"number": number})
    number_events()


def fail_on(*numbers: int, error: type[Exception] = ValueError) -> Any:
    broken = set(numbers)

    def fault(event: EventRecord) -> None:
        if event.data["number"] in broken:
            raise error(f"no {event.data['number']}")

    fault.broken = broken  # type: ignore[attr-defined]
    return fault


def visit_until_quiet(item: Recorder) -> None:
    for _ in range(50):
        result = visit(item)
        if not result.lagging and result.retry_in_s is None:
            return
        time.sleep(min(0.2, result.retry_in_s or 0))


def test_events_arrive_in_order_once(log: Any) -> None:
    item = recorder()
    publish(1, 2, 3)

    assert visit(item).delivered == 3
    assert visit(item).delivered == 0
    assert item.numbers == [1, 2, 3]
    assert {tenant_id for tenant_id, _ in item.seen} == {log.id}


def test_only_wanted_types_arrive(log: Any) -> None:
    item, everything = recorder(), recorder(types=("*",))
    publish(1)
    publish(2, type_="alarm.raised.v1")
    publish(3)

    visit(item)
    visit(everything)

    assert item.numbers == [1, 3]
    assert everything.numbers == [1, 2, 3]
    assert Subscription.objects.get(name=item.name).position == Subscription.objects.get(name=everything.name).position


def test_a_hundred_rapid_changes_are_a_hundred_deliveries(log: Any) -> None:
    item = recorder()
    publish(*range(100))

    visit(item)

    assert item.numbers == list(range(100))


def test_a_new_subscriber_may_begin_at_the_beginning(log: Any) -> None:
    publish(1, 2)
    item = Recorder(f"test.{uuid7()}")

    while visit(item).lagging:
        pass

    assert item.numbers[-2:] == [1, 2]


def test_batches_continue_where_they_ended(log: Any) -> None:
    item = recorder()
    publish(*range(10))

    lagging = [visit(item, limit=4).lagging for _ in range(3)]

    assert lagging == [True, True, False]
    assert item.numbers == list(range(10))


def test_a_visit_ends_early_when_its_time_is_up(log: Any) -> None:
    item = recorder(lambda _event: time.sleep(0.02))
    publish(*range(10))

    result = visit(item, visit_s=0.05)

    assert result.lagging
    assert 0 < result.delivered < 10
    visit_until_quiet(item)
    assert item.numbers == list(range(10))


def test_a_failing_event_holds_back_its_key_only(log: Any) -> None:
    fault = fail_on(1)
    item = recorder(fault)
    publish(1, 2, key="a")
    publish(3, key="b")
    publish(4, key="a")

    result = visit(item)

    assert item.numbers == [3]
    assert (result.delivered, result.parked) == (1, 3)
    assert result.retry_in_s is not None

    fault.broken.clear()
    visit_until_quiet(item)

    assert item.numbers == [3, 1, 2, 4]
    assert ParkedEvent.objects.filter(subscription__name=item.name).count() == 0


def test_an_unordered_subscriber_passes_the_failing_event(log: Any) -> None:
    item = recorder(fail_on(1), ordered=False)
    publish(1, 2, key="a")

    visit(item)

    assert item.numbers == [2]


def test_after_the_last_attempt_an_event_is_dead_and_waits_for_a_person(log: Any) -> None:
    fault = fail_on(1)
    item = recorder(fault)
    publish(1, 2, key="a")
    visit_until_quiet(item)

    dead = ParkedEvent.objects.get(subscription__name=item.name, status=ParkedStatus.DEAD)
    assert (dead.attempts, dead.error) == (3, "ValueError: no 1")
    assert item.numbers == []

    fault.broken.clear()
    assert redrive_events(item.name, actor=SYSTEM) == 1
    visit_until_quiet(item)

    assert item.numbers == [1, 2]


def test_a_dead_event_may_be_given_up(log: Any) -> None:
    item = recorder(fail_on(1))
    publish(1, 2, 3, key="a")
    visit_until_quiet(item)

    assert skip_events(item.name, key="a", actor=SYSTEM) == 1
    visit_until_quiet(item)

    assert item.numbers == [2, 3]
    assert Event.objects.filter(data__number=1, key="a").exists()


def test_redriving_needs_the_permission_and_a_known_name(log: Any) -> None:
    with pytest.raises(PermissionDenied):
        redrive_events("x", actor=Actor(kind="user", id=uuid7(), name="n"))
    with pytest.raises(SubscriberUnknown):
        redrive_events("nobody", actor=SYSTEM)


def test_when_its_surroundings_are_away_the_subscriber_backs_off_and_skips_nothing(log: Any) -> None:
    fault = fail_on(2, error=TransientError)
    item = recorder(fault)
    publish(1, 2, 3, key="a")
    publish(4, key="b")

    result = visit(item)

    assert item.numbers == [1]
    assert (result.parked, ParkedEvent.objects.count()) == (0, 0)
    assert visit(item).delivered == 0  # not before its time
    assert Subscription.objects.get(name=item.name).last_error.startswith("TransientError")

    fault.broken.clear()
    visit_until_quiet(item)

    assert item.numbers == [1, 2, 3, 4]
    assert Subscription.objects.get(name=item.name).failures == 0


def test_back_off_grows(log: Any) -> None:
    item = recorder(fail_on(1, error=TransientError))
    publish(1)
    waits = []
    for _ in range(4):
        waits.append(visit(item).retry_in_s)
        time.sleep((waits[-1] or 0) + 0.01)

    assert [round(wait or 0, 1) for wait in waits] == [0.1, 0.1, 0.2, 0.4] or waits == sorted(waits)  # type: ignore[type-var]


@pytest.mark.parametrize(("failures", "expected"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (1000, 300)])
def test_retry_policy(failures: int, expected: float) -> None:
    assert RetryPolicy(jitter=0).delay_s(failures) == expected
    assert 0.8 * expected <= RetryPolicy().delay_s(failures) <= 1.2 * expected


def test_what_a_failing_handler_wrote_is_undone(log: Any) -> None:
    def write_and_fail(event: EventRecord) -> None:
        publish_event("alarm.raised.v1", subject="undone", data={"number": event.data["number"]})
        if event.data["number"] == 2:
            raise ValueError

    item = recorder(write_and_fail)
    publish(1, key="a")
    publish(2, key="b")

    visit(item)

    assert [event.data["number"] for event in Event.objects.filter(subject="undone")] == [1]


def test_a_database_error_in_a_handler_is_contained(log: Any) -> None:
    from django.db import connection

    def break_sql(event: EventRecord) -> None:
        if event.data["number"] == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")

    item = recorder(break_sql)
    publish(1, key="a")
    publish(2, key="b")

    result = visit(item)

    assert (item.numbers, result.parked) == ([2], 1)


def test_offsets_of_tenants_are_apart(acme: Any, globex: Any) -> None:
    item = Recorder(f"test.{uuid7()}", from_beginning=False)
    for tenant in (acme, globex):
        with tenant_context(tenant):
            number_events()
            visit(item)
    with tenant_context(acme):
        publish(1, 2)
    for tenant in (acme, globex):
        with tenant_context(tenant):
            visit(item)

    assert [tenant_id for tenant_id, _ in item.seen] == [acme.id, acme.id]
