"""Lean reads and writes of tenants' rows."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from apps.core.ids import uuid7
from apps.engine.models import Waiter
from apps.events.models import Event, EventSubscription
from apps.integrations.models import Environment
from apps.tenancy.exceptions import TenantContextMissing
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from apps.tenancy.services.rows import Statements, select_rows

WEIRD = {"text": "a'b\"c\\d %s {0} é\u2028", "number": 0.1, "large": 2**62, "nothing": None, "list": [{"x": True}]}


def event(**values: object) -> Event:
    return Event(
        **{
            "id": uuid7(), "type": "x.v1", "source": "s", "subject": "a/b", "time": datetime.now(UTC), "key": "k",
            "data": {}, **values,
        }
    )  # fmt: skip


def insert(*rows: Event) -> None:
    writes = Statements()
    writes.insert(rows, leave_out=("arrival",))
    writes.send()


def test_rows_come_back_as_they_were_written(as_acme: Tenant) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    rows = [event(data=WEIRD, subject="it's/100%", time=moment), event(position=None)]
    insert(*rows)
    found = {row.pk: row for row in Event.objects.filter(pk__in=[row.pk for row in rows])}
    first = found[rows[0].pk]
    assert (first.data, first.subject, first.time, first.position) == (WEIRD, "it's/100%", moment, None)
    assert len(found) == 2


def test_selected_rows_are_those_of_the_query_builder(as_acme: Tenant) -> None:
    row = event(data=WEIRD)
    insert(row)
    [found] = select_rows(Event, "WHERE id = %s", [row.pk], extra=(("doubled", "2 * 21"),))
    expected = Event.objects.get(pk=row.pk)
    assert {name: found.__dict__[name] for name in expected.__dict__ if name != "_state"} == {
        name: value for name, value in expected.__dict__.items() if name != "_state"
    }
    assert found.doubled == 42  # type: ignore[attr-defined]


def test_updates_touch_named_fields_of_given_rows_only(as_acme: Tenant) -> None:
    rows = list(Environment.objects.order_by("position"))
    before = {row.pk: (row.name, row.protected) for row in rows}
    assert len(rows) > 2
    for row in rows[:2]:
        row.name, row.protected = f"It's {row.slug}", not row.protected
    writes = Statements()
    writes.update(rows[:2], ("name",))
    writes.send()
    found = {row.pk: (row.name, row.protected) for row in Environment.objects.all()}
    changed = {row.pk: (f"It's {row.slug}", before[row.pk][1]) for row in rows[:2]}
    assert found == {**before, **changed}


def test_a_fault_stops_what_follows_and_names_its_constraint(as_acme: Tenant) -> None:
    row, later = event(), event()
    writes = Statements()
    for rows in ([row], [row], [later]):
        writes.insert(rows, leave_out=("arrival",))
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        writes.send()
    assert caught.value.__cause__.diag.constraint_name == "events_event_pkey"  # type: ignore[union-attr]
    assert not Event.objects.filter(pk__in=[row.pk, later.pk]).exists()


def test_statements_are_sent_once(as_acme: Tenant) -> None:
    row = event()
    writes = Statements()
    writes.insert([row], leave_out=("arrival",))
    writes.send()
    writes.send()
    assert Event.objects.filter(pk=row.pk).count() == 1


@pytest.mark.django_db
def test_rows_need_an_entered_tenant() -> None:
    with pytest.raises(TenantContextMissing):
        Statements().insert([Waiter(run_id=uuid4(), step_id=uuid4(), event="x")])
    with pytest.raises(TenantContextMissing):
        Statements().update([Waiter(run_id=uuid4(), step_id=uuid4(), event="x")], ("event",))
    with pytest.raises(TenantContextMissing):
        select_rows(EventSubscription, "LIMIT 1", [])


def test_rows_stay_in_their_tenant(acme: Tenant, globex: Tenant) -> None:
    row = event()
    with tenant_context(acme):
        insert(row)
    with tenant_context(globex):
        assert select_rows(Event, "WHERE id = %s", [row.pk]) == []
    with tenant_context(acme):
        assert len(select_rows(Event, "WHERE id = %s", [row.pk])) == 1
    assert connection.in_atomic_block
