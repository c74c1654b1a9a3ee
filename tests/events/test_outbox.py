"""Publishing: in the caller's transaction, checked against the type, without a lock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from apps.core.ids import uuid7
from apps.events.contracts import to_full_type
from apps.events.exceptions import EventInvalid, EventTypeUnknown
from apps.events.models import Event
from apps.events.selectors import to_record
from apps.events.services.outbox import NOTIFY_CHANNEL, NewEvent, append_events, publish_event
from apps.events.services.payloads import build_schema, to_json
from apps.tenancy.exceptions import TenantContextMissing
from apps.tenancy.services.context import tenant_context
from tests.events.factories import PROBE, ProbeSent

TESTED = to_full_type("event.tested.v1")


def test_an_event_is_a_cloudevent(as_acme: Any) -> None:
    event_id = publish_event("probe.sent.v1", subject="probe/7", data={"number": 1})

    event = to_record(Event.objects.get(id=event_id)).to_cloudevent()
    time = event.pop("time")
    assert datetime.fromisoformat(time).tzinfo == UTC
    assert event == {
        "specversion": "1.0",
        "id": str(event_id),
        "type": "com.analytics-portal.probe.sent.v1",
        "source": f"urn:analytics-portal:tenant:{as_acme.id}",
        "subject": "probe/7",
        "datacontenttype": "application/json",
        "dataschema": "urn:portal:event:com.analytics-portal.probe.sent.v1",
        "partitionkey": "probe/7",
        "data": {"number": 1},
    }


def test_data_may_be_the_payload_itself_and_the_key_its_own(as_acme: Any) -> None:
    event_id = publish_event(PROBE.type, subject="probe/7", data=ProbeSent(5, "p"), key="line-1")

    event = Event.objects.get(id=event_id)
    assert (event.data, event.key) == ({"number": 5, "producer": "p"}, "line-1")


def test_a_rolled_back_change_publishes_nothing(committed_acme: Any) -> None:
    kept: set[UUID] = set()
    with tenant_context(committed_acme):
        for number in range(200):
            try:
                with transaction.atomic():
                    event_id = publish_event("probe.sent.v1", subject="rollback", data={"number": number})
                    if number % 3 == 0:
                        raise ZeroDivisionError
                kept.add(event_id)
            except ZeroDivisionError:
                pass
        assert set(Event.objects.filter(subject="rollback").values_list("id", flat=True)) == kept


def test_publishing_outside_a_tenant_is_refused(db: None) -> None:
    with pytest.raises(TenantContextMissing):
        publish_event("probe.sent.v1", subject="probe/7", data={"number": 1})


def test_an_unregistered_type_is_refused(as_acme: Any) -> None:
    with pytest.raises(EventTypeUnknown, match="nobody"):
        publish_event("nobody.knows.v1", subject="x", data={})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({}, "events.field_missing"),
        ({"number": 1, "extra": 1}, "events.field_unknown"),
        ({"number": "1"}, "events.field_type"),
        ({"number": True}, "events.field_type"),  # a boolean is no number here
        ({"number": 1, "producer": None}, "events.field_type"),
    ],
)
def test_data_that_do_not_fit_the_type_are_named(as_acme: Any, data: dict[str, Any], code: str) -> None:
    with pytest.raises(EventInvalid) as caught:
        publish_event("probe.sent.v1", subject="probe/7", data=data)

    assert caught.value.problems[0].code == code


@pytest.mark.parametrize(
    "arguments",
    [
        {"subject": "", "data": {"number": 1}},
        {"subject": "x" * 201, "data": {"number": 1}},
        {"subject": "x", "key": "k\x00", "data": {"number": 1}},
        {"subject": "x", "data": {"number": 1, "producer": "x" * 70_000}},
    ],
)
def test_oversized_events_are_refused(as_acme: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(EventInvalid):
        publish_event("probe.sent.v1", **arguments)


def test_texts_that_postgres_cannot_hold_are_made_harmless(as_acme: Any) -> None:
    event_id = publish_event("probe.sent.v1", subject="x", data={"number": 1, "producer": "a\x00b\ud800 \\u0000"})

    assert Event.objects.get(id=event_id).data["producer"] == "a\ufffdb? \\u0000"


def test_values_become_json() -> None:
    moment = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)

    assert to_json({"a": Decimal("1.50"), "b": UUID(int=1), "c": moment, "d": (1, {2})}) == {
        "a": "1.50",
        "b": "00000000-0000-0000-0000-000000000001",
        "c": "2026-03-01T10:30:00Z",
        "d": [1, [2]],
    }


def test_a_type_has_a_json_schema() -> None:
    schema = build_schema(PROBE)

    assert schema["required"] == ["number"]
    assert schema["properties"] == {"number": {"type": "integer"}, "producer": {"type": "string"}}


def test_the_commit_rings_for_the_tenant(committed_acme: Any) -> None:
    parameters = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name in {"dbname", "user", "password", "host", "port"}
    }
    with psycopg.connect(**parameters, autocommit=True) as listener:
        listener.execute(f"LISTEN {NOTIFY_CHANNEL}")
        with tenant_context(committed_acme), transaction.atomic():
            publish_event("probe.sent.v1", subject="x", data={"number": 1})
            publish_event("probe.sent.v1", subject="x", data={"number": 2})
            assert list(listener.notifies(timeout=0.2)) == []
        rung = list(listener.notifies(timeout=1, stop_after=1))

    assert [notification.payload for notification in rung] == [str(committed_acme.id)]


def test_an_open_transaction_delays_no_other_publisher(committed_acme: Any) -> None:
    published = threading.Event()

    def publish() -> None:
        try:
            with tenant_context(committed_acme):
                publish_event("probe.sent.v1", subject="same", key="same", data={"number": 2})
            published.set()
        finally:
            connection.close()

    with tenant_context(committed_acme), transaction.atomic():
        publish_event("probe.sent.v1", subject="same", key="same", data={"number": 1})
        thread = threading.Thread(target=publish)
        thread.start()
        assert published.wait(5)
    thread.join()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events_event SET data = '{}'",
        "UPDATE events_event SET position = 5, type = 'x'",
        "DELETE FROM events_event WHERE position IS NULL",
    ],
)
def test_the_database_refuses_to_change_an_event(as_acme: Any, statement: str) -> None:
    publish_event("probe.sent.v1", subject="x", data={"number": 1})

    with pytest.raises(DatabaseError, match=r"refused|cannot be deleted"), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_second_tenant_has_its_own_log(acme: Any, globex: Any) -> None:
    subject = f"probe/{uuid7()}"
    with tenant_context(acme):
        publish_event("probe.sent.v1", subject=subject, data={"number": 1})
    with tenant_context(globex):
        assert not Event.objects.filter(subject=subject).exists()


def test_many_events_are_appended_in_their_order(as_acme: Any) -> None:
    events = [NewEvent(TESTED, f'{{"note": "\\"{number}\\""}}', f"t/{number}", "k") for number in range(30)]
    append_events(events)
    rows = Event.objects.filter(type="com.analytics-portal.event.tested.v1").order_by("arrival")
    assert [(row.subject, row.data["note"], row.key) for row in rows] == [(f"t/{n}", f'"{n}"', "k") for n in range(30)]


def test_one_event_that_is_too_large_keeps_all_of_them_out(as_acme: Any) -> None:
    large = NewEvent(TESTED, f'{{"note": "{"x" * 70_000}"}}', "t/1", "t/1")
    with pytest.raises(EventInvalid):
        append_events([NewEvent(TESTED, "{}", "t/0", "t/0"), large])
    assert not Event.objects.filter(type__endswith="event.tested.v1").exists()
