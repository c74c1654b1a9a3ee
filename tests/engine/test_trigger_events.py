"""Event triggers: one run for each event, filters, input, webhooks, faults, and no flow that starts itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models.functions import Now

from apps.core.clock import now
from apps.engine.choices import FiringStatus
from apps.engine.models import Firing, Run
from apps.engine.receivers import FireTriggers
from apps.engine.services.executing import work_on_run
from apps.engine.services.runs import StartRequest, start_run
from apps.engine.services.triggers.editing import delete_trigger, pause_trigger
from apps.engine.services.triggers.firing import fire_due
from apps.events.events import WebhookReceived
from apps.events.models import Event
from apps.events.services.event_contracts import create_contract, publish_custom_event
from apps.events.services.outbox import publish_event
from apps.integrations.models import Deployment, Environment, FlowVersion
from apps.integrations.services.pausing import pause_flow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import require_tenant, tenant_context
from tests.engine.factories import SYSTEM, flow_definition, make_flow
from tests.engine.process_factories import process, value
from tests.engine.trigger_factories import DEFINITION, deployed, firings_of, numbered, on_event, runs_of

PAID = "com.acme.trigger.paid.v1"
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}, "note": {"type": "string"}}}


def paid(**data: object) -> object:
    """An event of the tenant's own type, as the relay hands it over."""
    found = publish_custom_event(PAID, subject="invoice/1", data=data, client_id=str(uuid4()), actor=SYSTEM)
    return numbered(found.event_id)


def deliver(*events: object) -> None:
    FireTriggers().handle_batch(require_tenant(), events)  # type: ignore[arg-type]


@pytest.fixture
def paid_type(as_acme: Tenant) -> None:
    create_contract(PAID, schema=SCHEMA, description="Paid.", actor=SYSTEM)


def test_each_matching_event_starts_one_run_with_mapped_input(paid_type: None) -> None:
    flow = deployed(
        process(
            value("a", x="input.total"),
            input=[{"name": "total", "type": "DECIMAL(18,2)"}, {"name": "about", "type": "VARCHAR"}],
        )
    )
    trigger = on_event(
        PAID,
        flow=flow,
        filter="try_cast(data->>'total' as decimal(18,2)) > 100",
        parameters={"about": "?"},
        mapping={"total": "cast(data->>'total' as decimal(18,2))", "about": "subject"},
    )
    large, small, other = paid(total=250.5), paid(total=5), paid(note="no total")
    deliver(large, small, other)
    deliver(large)
    deliver(large, small)
    [run] = runs_of(trigger)
    assert run.trigger == "event"
    assert run.parameters == {"total": 250.5, "about": "invoice/1"}
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.status == "succeeded", run.error
    trigger.refresh_from_db()
    assert (trigger.last_run_id, trigger.last_error) == (run.pk, None)


def test_patterns_of_the_portals_own_types(as_acme: Tenant) -> None:
    other, trigger = deployed(), on_event("flow.*")
    event = numbered(Event.objects.filter(data__flow_id=str(other.pk), type__endswith="flow.deployed.v1").get().pk)
    deliver(event)
    assert len(runs_of(trigger)) == 1


def test_events_before_the_trigger_do_not_count(paid_type: None) -> None:
    trigger = on_event(PAID)
    deliver(replace(paid(total=1), position=trigger.start_position))  # type: ignore[type-var]
    assert runs_of(trigger) == []


def test_a_flow_does_not_start_itself(as_acme: Tenant) -> None:
    trigger = on_event("run.*")
    run = start_run(StartRequest(trigger.flow_id, "dev"), actor=SYSTEM)
    work_on_run(run.pk)
    events = Event.objects.filter(data__run_id=str(run.pk))
    assert events.exists()
    deliver(*[numbered(event.pk) for event in events])
    assert runs_of(trigger) == [run]


def test_a_filter_without_a_value_fails_visibly(paid_type: None) -> None:
    trigger = on_event(PAID, filter="cast(data->>'note' as integer) > 1")
    deliver(paid(note="many"), paid(note="2"))
    assert sorted(status for status, _ in firings_of(trigger)) == ["failed", "started"]
    failed = Firing.objects.get(trigger=trigger, status=FiringStatus.FAILED)
    assert failed.error["code"] == "engine.trigger.filter_failed"
    assert failed.error["message"].startswith("filter: ")


def test_a_mapping_without_a_value_fails_visibly(paid_type: None) -> None:
    trigger = on_event(PAID, mapping={"n": "cast(data->>'note' as integer)"})
    deliver(paid(note="many"))
    assert [status for status, _ in firings_of(trigger)] == ["failed"]
    trigger.refresh_from_db()
    assert trigger.last_error["code"].startswith("expressions.")


def test_paused_triggers_and_flows_start_nothing(paid_type: None) -> None:
    first, second = on_event(PAID), on_event(PAID)
    pause_trigger(first.pk, actor=SYSTEM)
    pause_flow(second.flow_id, actor=SYSTEM)
    deliver(paid(total=1))
    assert runs_of(first) == runs_of(second) == []
    assert firings_of(first) == []
    assert firings_of(second) == [("skipped", 0)]


def test_deleted_triggers_start_nothing_and_their_runs_stay(paid_type: None) -> None:
    trigger = on_event(PAID)
    deliver(paid(total=1))
    delete_trigger(trigger.pk, actor=SYSTEM)
    deliver(paid(total=2))
    assert len(runs_of(trigger)) == 1


def test_an_event_waits_for_a_load_that_is_running(paid_type: None) -> None:
    flow = make_flow(flow_definition())
    trigger = on_event(PAID, flow=flow)
    Firing.objects.filter(trigger=trigger).delete()
    busy = start_run(StartRequest(flow.pk, "dev", version="draft"), actor=SYSTEM)
    # The deployed version is what a trigger starts; its row is made directly, because no source system is needed here.
    version = FlowVersion.objects.create(
        flow=flow, number=1, definition=busy.definition, content_hash="1" * 64, published_at=now()
    )
    Deployment.objects.create(
        flow=flow, version=version, environment=Environment.objects.get(slug="dev"), deployed_at=now()
    )
    deliver(paid(total=1))
    firing = Firing.objects.get(trigger=trigger)
    assert (firing.status, firing.error["code"]) == (FiringStatus.PENDING, "engine.run.already_active")
    Run.objects.filter(pk=busy.pk).update(status="cancelled")
    Firing.objects.filter(pk=firing.pk).update(next_attempt_at=Now() - timedelta(seconds=1))
    fire_due()
    firing.refresh_from_db()
    assert firing.status == FiringStatus.STARTED


def test_events_of_another_tenant_start_nothing(acme: Tenant, globex: Tenant) -> None:
    with tenant_context(acme):
        trigger = on_event("*")
    with tenant_context(globex):
        flow = make_flow(DEFINITION)
        event = numbered(Event.objects.filter(data__flow_id=str(flow.pk)).first().pk)  # type: ignore[union-attr]
        FireTriggers().handle(require_tenant(), event)
        assert not Run.objects.filter(flow_id=trigger.flow_id).exists()
    with tenant_context(acme):
        assert runs_of(trigger) == []


def test_a_webhook_starts_a_run(as_acme: Tenant) -> None:
    """An inbound endpoint publishes an event of the type it was given; a trigger on that type hears the webhook."""
    flow = deployed(process(value("a", x="input.total"), input=[{"name": "total", "type": "BIGINT"}]))
    trigger = on_event("webhook.received.v1", flow=flow, mapping={"total": "cast(data->'body'->>'total' as bigint)"})
    data = WebhookReceived(uuid4(), "m1", "application/json", body={"total": 7})
    event = numbered(publish_event("webhook.received.v1", subject="webhook/1", data=data))
    deliver(event, event)
    [run] = runs_of(trigger)
    assert (run.trigger, run.parameters) == ("event", {"total": 7})
