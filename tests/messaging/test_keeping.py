"""What becomes of a batch: events, duplicates, dead letters with their reasons; a lost lease keeps nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.connectors.contracts import IncomingMessage
from apps.events.models import Event
from apps.events.services.event_contracts import create_contract, publish_contract_version
from apps.messaging.choices import LetterStatus
from apps.messaging.exceptions import LeaseLost, LetterIncomplete, LetterSettled, MessageRefused
from apps.messaging.models import Consumer, DeadLetter
from apps.messaging.services import keeping
from apps.messaging.services.editing import create_consumer, pause_consumer, update_consumer
from apps.messaging.services.keeping import Kept, keep_messages
from apps.messaging.services.leases import claim_consumers
from apps.messaging.services.letters import discard_letter, redeliver_all, redeliver_letter
from apps.messaging.services.pacing import Pace
from apps.messaging.services.retention import purge_everywhere
from apps.tenancy.models import Tenant
from tests.messaging.consumers import SYSTEM, bodies_of, idle_connection, message

PAID = "com.acme.messaging.paid.v1"
SCHEMA = {"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}}


@pytest.fixture
def slug(as_acme: Tenant) -> Iterator[str]:
    return idle_connection()


def make(slug: str, **settings: Any) -> Consumer:
    """A consumer that this test holds."""
    row = create_consumer(
        f"C {uuid4().hex[:8]}", environment="dev", connection=slug, source="ORDERS", actor=SYSTEM, **settings
    )
    [lease] = [one for one in claim_consumers(100, owner="test") if one.consumer_id == row.id]
    row.fence = lease.fence
    return row


def keep(row: Consumer, *messages: IncomingMessage) -> Kept:
    return keep_messages(row.id, row.fence, messages)


def letters_of(row: Consumer) -> list[tuple[str, str]]:
    return list(DeadLetter.objects.filter(consumer=row).order_by("id").values_list("code", "reason"))


def test_ids_places_and_neither(slug: str) -> None:
    row = make(slug)
    one, two = message(b"1", message_id="a"), message(b"2", position="ORDERS:7")
    assert keep(row, one, two, one) == Kept(published=2, duplicates=1)
    assert keep(row, message(b"1", message_id="a", position="ORDERS:9"), two) == Kept(duplicates=2)
    assert keep(row, message(b"3"), message(b"3")) == Kept(published=2)
    assert keep(row, message(b"4", message_id="x" * 5000)).published == 1
    assert keep(row, message(b"4", message_id="x" * 5000)).duplicates == 1
    assert bodies_of(row) == [1, 2, 3, 3, 4]
    row.refresh_from_db()
    assert (row.received, row.published, row.duplicates, row.position) == (9, 5, 4, "ORDERS:7")


@pytest.mark.parametrize(
    ("settings", "body", "code"),
    [
        ({}, b"{not json", "messaging.not_json"),
        ({}, b"\xff\xfe", "messaging.not_json"),
        ({}, b'{"n": NaN}', "messaging.not_json"),
        ({}, b"[" * 100_000, "messaging.not_json"),
        ({}, b"[" * 200 + b"]" * 200, "messaging.not_json"),
        ({}, json.dumps("x" * 70_000).encode(), "messaging.too_large"),
        ({}, b'{"n": 1e200000}', "messaging.unstorable"),
        ({"format": "text"}, b"\xff\xfe", "messaging.not_text"),
        ({"format": "cloudevents"}, b'{"n": 1}', "messaging.not_cloudevent"),
        ({"event_type": PAID}, b'{"total": "much"}', "messaging.schema"),
        ({"event_type": PAID}, b"[1]", "messaging.schema"),
        ({"filter": "cast(body->>'n' as integer) > 1"}, b'{"n": "one"}', "messaging.expression"),
    ],
    ids=[
        "not-json", "not-utf8", "nan", "endless", "deep", "large", "beyond-jsonb", "text-not-utf8", "no-cloudevent",
        "schema", "no-object", "filter-fails",
    ],
)  # fmt: skip
def test_poison_is_a_dead_letter_and_does_not_stop_the_others(
    slug: str, settings: dict[str, Any], body: bytes, code: str
) -> None:
    create_contract(PAID, schema=SCHEMA, description="Paid.", actor=SYSTEM)
    row = make(slug, **settings)
    good = {
        "text": b"fine",
        "cloudevents": b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"n": 2}}',
    }.get(settings.get("format", ""), b'{"total": 1, "n": 2}')
    kept = keep(row, message(good, message_id="a"), message(body, message_id="b"), message(good, message_id="c"))
    if settings.get("format") == "cloudevents":
        assert kept == Kept(published=1, duplicates=1, dead=1)
    else:
        assert kept == Kept(published=2, dead=1)
    [(found, reason)] = letters_of(row)
    assert (found, bool(reason)) == (code, True)
    assert keep(row, message(body, message_id="b")) == Kept(duplicates=1)


def test_a_type_of_ones_own_takes_the_body_as_its_data(slug: str) -> None:
    create_contract(PAID, schema=SCHEMA, description="Paid.", actor=SYSTEM)
    row = make(slug, event_type=PAID, key_expression="body->>'customer'", filter="(body->>'total')::decimal(18,2) > 1")
    messages = [b'{"total": 10.00, "customer": "c1"}', b'{"total": 1, "customer": "c1"}']
    assert keep(row, *map(message, messages)) == Kept(published=1, filtered=1)
    event = Event.objects.get(type=PAID)
    assert (event.key, event.data["customer"]) == ("c1", "c1")


def test_a_cloudevent_is_opened_to_the_digit(slug: str) -> None:
    row = make(slug, format="cloudevents")
    body = (
        b'{"specversion": "1.0", "id": "7", "source": "urn:erp", "type": "paid", "subject": "invoice/7",'
        b' "partitionkey": "c1", "data": {"total": 0.1000000000000000000001, "name": "Gr\\u00fc\\u00dfe"}}'
    )
    assert keep(row, message(body)).published == 1
    assert keep(row, message(body)).duplicates == 1
    event = Event.objects.filter(subject="invoice/7").extra(select={"t": "data->'body'->>'total'"}).get()
    assert (event.key, event.t, event.data["body"]["name"]) == ("c1", "0.1000000000000000000001", "Grüße")


def test_text_is_kept_as_text(slug: str) -> None:
    row = make(slug, format="text")
    keep(row, message("21,5 °C\x00".encode(), headers={"unit": "C"}))
    event = Event.objects.get(subject=f"consumer/{row.id}")
    assert (event.data["body"], event.data["headers"], event.data["source"]) == ("21,5 °C�", {"unit": "C"}, "orders")


def test_a_lost_lease_keeps_nothing(slug: str) -> None:
    row = make(slug)
    stale = row.fence
    pause_consumer(row.id, actor=SYSTEM)
    with pytest.raises(LeaseLost):
        keep_messages(row.id, stale, [message(b"1")])
    assert bodies_of(row) == []


def test_a_mended_contract_lets_dead_letters_pass(slug: str) -> None:
    contract = create_contract(PAID, schema=SCHEMA, description="Paid.", actor=SYSTEM, compatibility="none")
    row = make(slug, event_type=PAID)
    keep(row, *(message(b'{"total": "%d"}' % n, message_id=str(n)) for n in range(3)), message(b"no"))
    first, second, third, hopeless = DeadLetter.objects.filter(consumer=row).order_by("id")
    with pytest.raises(MessageRefused, match="total"):
        redeliver_letter(first.id, actor=SYSTEM)
    text = {"type": "object", "properties": {"total": {"type": "string"}}}
    publish_contract_version(contract.id, schema=text, actor=SYSTEM)
    done = redeliver_letter(first.id, actor=SYSTEM)
    assert (done.status, Event.objects.get(id=done.event_id).data) == (LetterStatus.REDELIVERED, {"total": "0"})
    with pytest.raises(LetterSettled):
        redeliver_letter(first.id, actor=SYSTEM)
    discard_letter(second.id, actor=SYSTEM)
    assert redeliver_all(row.id, actor=SYSTEM) == {"redelivered": 1, "dead": 1}
    third.refresh_from_db()
    hopeless.refresh_from_db()
    assert (third.status, hopeless.status) == (LetterStatus.REDELIVERED, LetterStatus.DEAD)
    assert Event.objects.filter(type=PAID).count() == 2


def test_a_letter_that_is_not_complete_cannot_be_redelivered(slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_LETTER_BYTES", 10)
    row = make(slug)
    keep(row, message(b"no json at all"))
    letter = DeadLetter.objects.get(consumer=row)
    assert (bytes(letter.body), letter.size_bytes, letter.is_complete) == (b"no json at", 14, False)
    with pytest.raises(LetterIncomplete):
        redeliver_letter(letter.id, actor=SYSTEM)
    assert redeliver_all(row.id, actor=SYSTEM) == {"redelivered": 0, "dead": 1}


def test_too_many_dead_letters_pause_the_consumer(slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_DEAD", 3)
    row = make(slug)
    keep(row, message(b"no"), message(b"no"))
    keep(row, message(b"no"))
    with pytest.raises(LeaseLost):
        keep(row, message(b"1"))
    row.refresh_from_db()
    assert (row.status, "3 dead letters" in row.status_reason) == ("paused", True)
    assert Event.objects.filter(type__endswith="consumer.stopped.v1", subject=f"consumer/{row.id}").count() == 1


def test_a_change_takes_the_consumer_from_its_holder(slug: str) -> None:
    row = make(slug)
    update_consumer(row.id, max_per_second=7, actor=SYSTEM)
    with pytest.raises(LeaseLost):
        keep(row, message(b"1"))
    assert [one.max_per_second for one in claim_consumers(100, owner="test") if one.consumer_id == row.id] == [7]
    assert [one for one in claim_consumers(100, owner="test") if one.consumer_id == row.id] == []


def test_only_who_may_replay_settles_letters(slug: str) -> None:
    row = make(slug)
    keep(row, message(b"no"))
    letter = DeadLetter.objects.get(consumer=row)
    nobody = Actor(kind="user", id=uuid4(), name="nobody", permissions=frozenset({"consumer:view", "consumer:edit"}))
    for act in (redeliver_letter, discard_letter):
        with pytest.raises(PermissionDenied):
            act(letter.id, actor=nobody)


def test_retention_forgets_what_is_older_than_the_log(slug: str, settings: Any) -> None:
    row = make(slug)
    keep(row, message(b"1", message_id="a"), message(b"no"))
    discard_letter(DeadLetter.objects.get(consumer=row).id, actor=SYSTEM)
    assert purge_everywhere() == 0
    settings.EVENTS_RETENTION_DAYS = 0
    assert purge_everywhere() >= 2
    assert keep(row, message(b"1", message_id="a")).published == 1


def test_a_pace_gives_no_more_than_a_second_holds() -> None:
    pace = Pace(50)
    assert pace.available() == 50
    pace.spend(60)
    assert pace.available() <= 0
