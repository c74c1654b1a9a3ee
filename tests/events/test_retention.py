"""Old events go, once everybody has passed them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.core.ids import uuid7
from apps.events.models import Event, StreamHead
from apps.events.selectors import get_head_position
from apps.events.services import retention
from apps.events.services.fan_out import FanOut
from apps.events.services.numbering import number_events
from apps.events.services.outbox import publish_event
from apps.events.services.retention import purge_events
from apps.tenancy.services.context import tenant_context
from tests.events.factories import Recorder, registered, visit

NOW = timedelta(seconds=-60)  # everything is older than one minute from now


def publish(count: int) -> None:
    for number in range(count):
        publish_event("probe.sent.v1", subject="old", data={"number": number})
    while number_events().more:
        pass
    while visit(FanOut()).lagging:
        pass


@pytest.fixture
def slow(as_acme: Any) -> Iterator[Recorder]:
    """A registered subscriber that has passed everything so far."""
    publish(0)
    item = Recorder(f"test.{uuid7()}", from_beginning=False)
    with registered(item):
        visit(item)
        yield item


def test_only_old_events_go(slow: Recorder) -> None:
    publish(5)
    visit(slow)

    assert purge_events(older_than=timedelta(days=1)) == 0
    purge_events(older_than=NOW)

    assert Event.objects.count() == 0
    assert StreamHead.objects.get().purged_to == get_head_position()


def test_events_that_a_subscriber_has_not_passed_stay(slow: Recorder) -> None:
    publish(5)
    visit(slow, limit=2)

    purge_events(older_than=NOW)

    assert [event.data["number"] for event in Event.objects.order_by("position")] == [2, 3, 4]


def test_parked_events_and_later_ones_stay(slow: Recorder) -> None:
    def fault(event: Any) -> None:
        if event.data["number"] == 2:
            raise ValueError

    slow.fault = fault
    publish(5)
    visit(slow)

    purge_events(older_than=NOW)

    assert Event.objects.count() == 3


def test_an_idle_subscriber_holds_nothing_back(slow: Recorder) -> None:
    idle = Recorder(f"test.{uuid7()}", from_beginning=False, types=("alarm.*",))
    with registered(idle):
        visit(idle)
        publish(5)
        visit(slow)

        purge_events(older_than=NOW)

    assert Event.objects.count() == 0


def test_unnumbered_events_stay(slow: Recorder) -> None:
    publish_event("probe.sent.v1", subject="fresh", data={"number": 1})

    purge_events(older_than=NOW)

    assert Event.objects.filter(subject="fresh").exists()


def test_batches_go_one_after_the_other(slow: Recorder, monkeypatch: Any) -> None:
    monkeypatch.setattr(retention, "BATCH_EVENTS", 3)
    publish(10)
    visit(slow)

    assert purge_events(older_than=NOW) >= 10
    assert purge_events(older_than=NOW) == 0


def test_numbers_go_on_after_a_purge(slow: Recorder) -> None:
    publish(3)
    visit(slow)
    purge_events(older_than=NOW)
    head = get_head_position()

    publish(1)
    visit(slow)

    assert Event.objects.get().position == head + 1
    assert slow.numbers == [0, 1, 2, 0]


def test_the_command_visits_every_tenant(acme: Any, globex: Any, capsys: Any) -> None:
    with tenant_context(acme):
        publish(3)

    call_command("events_purge", days=30)

    out = capsys.readouterr().out
    assert "acme: 0 events deleted" in out
    assert "globex: " in out
    with pytest.raises(CommandError):
        call_command("events_purge", days=0)
