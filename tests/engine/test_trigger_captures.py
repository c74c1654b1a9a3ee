"""A changed row of a captured table starts a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from apps.connectors.models import ChangeCapture
from apps.engine.receivers import FireTriggers
from apps.engine.services.executing import work_on_run
from apps.engine.services.triggers.editing import delete_trigger
from apps.events.models import Event
from apps.events.selectors import to_record
from apps.events.services.numbering import number_events
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import require_tenant
from tests.connectors.captures import (
    Source,
    capture,
    capturing,
    change_source,
    connected,
    events_of,
    wait_for,
    wait_until_streaming,
)
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import process, value
from tests.engine.trigger_factories import deployed, on_event, runs_of


@pytest.fixture
def source() -> Iterator[Source]:
    with change_source() as found:
        found.execute("CREATE TABLE orders (id int PRIMARY KEY, total numeric(18,2), status text)")
        yield found


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]


def _numbered(row: ChangeCapture) -> list[Any]:
    while number_events().more:
        pass
    found = Event.objects.filter(data__capture=str(row.id), type__endswith=".row.changed.v1").order_by("position")
    return [to_record(one) for one in found]


def test_a_changed_row_starts_a_run(committed_acme: Tenant, source: Source) -> None:
    with connected(committed_acme, source) as link:
        row = capture(link, "orders")
        flow = deployed(
            process(
                value("a", x="input.order"),
                input=[{"name": "order", "type": "BIGINT"}, {"name": "total", "type": "DECIMAL(18,2)"}],
            )
        )
        trigger = on_event(
            "row.changed.v1",
            flow=flow,
            filter=f"data->>'capture' = '{row.id}' and data->>'op' = 'update' and data->'after'->>'status' = 'paid'",
            mapping={
                "order": "cast(data->'key'->>'id' as bigint)",
                "total": "cast(data->'after'->>'total' as decimal(18,2))",
            },
        )
        try:
            with capturing():
                wait_until_streaming(row)
                source.execute("INSERT INTO orders VALUES (7, 12.30, 'open'); UPDATE orders SET status = 'paid'")
                wait_for(lambda: len(events_of(row.id)) == 2, "both changes")
            FireTriggers().handle_batch(require_tenant(), _numbered(row))
            [run] = runs_of(trigger)
            assert run.parameters["order"] == 7 and float(run.parameters["total"]) == 12.3
            work_on_run(run.pk)
            run.refresh_from_db()
            assert run.status == "succeeded", run.error
        finally:
            delete_trigger(trigger.pk, actor=SYSTEM)
