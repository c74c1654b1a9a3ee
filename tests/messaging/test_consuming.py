"""Consumers on a real NATS: nothing lost, nothing twice, whatever dies in between."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.engine.choices import ENDED_RUN_STATUSES
from apps.engine.models import Run, StepResult
from apps.engine.receivers import FireTriggers
from apps.engine.services.executing import work_on_run
from apps.events.models import Event
from apps.events.services.delivery import deliver_events
from apps.events.services.numbering import number_events
from apps.integrations.services.pausing import pause_flow
from apps.messaging.models import Consumer
from apps.messaging.services.editing import pause_consumer, resume_consumer
from apps.tenancy.models import Tenant
from tests.brokers import Broker
from tests.engine.process_factories import outputs, process, run, step, value, work
from tests.engine.trigger_factories import deployed, firings_of, on_event, runs_of
from tests.messaging.consumers import (
    SYSTEM,
    bodies_of,
    broker_connection,
    consumer,
    fresh,
    inside,
    jetstream,
    publish_raw,
    running,
    wait_published,
    wait_until,
)
from tests.processes import start

pytestmark = [pytest.mark.committed, pytest.mark.xdist_group("nats")]


def pending(broker: Broker, stream: str, row: Consumer) -> int:
    """Messages that the broker still wants acknowledged or has not handed over."""
    info = jetstream(broker, lambda js: js.consumer_info(stream, row.broker_name))
    return int(info.num_pending + info.num_ack_pending)


def test_every_message_becomes_one_event_to_the_digit(committed_acme: Tenant, nats_server: Broker, stream: str) -> None:
    with inside(committed_acme), consumer(broker_connection("nats", nats_server), stream) as row:
        publish_raw(nats_server, f"{stream}.a", [b'{"n": %d, "x": 0.10000000000000000001}' % n for n in range(250)])
        with running():
            found = wait_published(row, 250)
            wait_until(lambda: pending(nats_server, stream, row) == 0, "acknowledged")
            assert found.connected_at is not None
        assert [body["n"] for body in bodies_of(row)] == list(range(250))
        event = Event.objects.filter(subject=f"consumer/{row.id}").order_by("arrival").first()
        assert event is not None
        assert event.type.endswith("message.received.v1")
        assert event.data["position"] == f"{stream}:1"
        exact = Event.objects.filter(id=event.id).extra(select={"text": "data->'body'->>'x'"}).values_list("text")
        assert exact[0][0] == "0.10000000000000000001"
        after = fresh(row)
        assert (after.position, after.connected_at, after.lease_until) == (f"{stream}:250", None, None)


def test_killed_between_commit_and_acknowledgement(
    committed_acme: Tenant, nats_server: Broker, stream: str, tmp_path: Path
) -> None:
    with inside(committed_acme), consumer(broker_connection("nats", nats_server), stream) as row:
        publish_raw(nats_server, f"{stream}.a", [b'{"n": %d}' % n for n in range(30)])
        child = start("killed", [sys.executable, "-m", "tests.messaging.killed", "nats"], tmp_path)
        assert child.process.wait(60) == -9, child.log_tail()
        kept = fresh(row).published
        assert kept > 0
        assert pending(nats_server, stream, row) == 30
        # What only time would bring: the broker's patience and the lease of the dead process.
        jetstream(nats_server, lambda js: js.delete_consumer(stream, row.broker_name))
        Consumer.objects.filter(id=row.id).update(lease_until=None)
        with running():
            wait_until(lambda: fresh(row).received >= 30 + kept, "handed over again")
            wait_until(lambda: pending(nats_server, stream, row) == 0, "acknowledged")
        found = fresh(row)
        assert (found.published, found.duplicates) == (30, kept)
        assert [body["n"] for body in bodies_of(row)] == list(range(30))


def test_a_broker_that_restarts_and_messages_meanwhile(
    committed_acme: Tenant, nats_server: Broker, stream: str
) -> None:
    with inside(committed_acme), consumer(broker_connection("nats", nats_server), stream) as row:
        publish_raw(nats_server, f"{stream}.a", [b'{"n": 0}'])
        with running():
            wait_published(row, 1)
            nats_server.stop()
            failing = wait_until(lambda: (now := fresh(row)).failures and now, "noticed")
            assert failing.last_error["code"] == "connectors.unavailable"
            assert (failing.connected_at, failing.lease_until) == (None, None)
            nats_server.start()
            publish_raw(nats_server, f"{stream}.a", [b'{"n": 1}'])
            found = wait_published(row, 2)
        assert (found.failures, found.last_error) == (0, None)
        assert [body["n"] for body in bodies_of(row)] == [0, 1]


def test_paused_messages_wait_at_the_broker(committed_acme: Tenant, nats_server: Broker, stream: str) -> None:
    with inside(committed_acme), consumer(broker_connection("nats", nats_server), stream) as row:
        publish_raw(nats_server, f"{stream}.a", [b'{"n": 0}'])
        with running() as runner:
            wait_published(row, 1)
            pause_consumer(row.id, reason="stocktaking", actor=SYSTEM)
            wait_until(lambda: not runner._held, "let go")
            publish_raw(nats_server, f"{stream}.a", [b'{"n": 1}'])
            paused = fresh(row)
            assert (paused.status, paused.status_reason, paused.published) == ("paused", "stocktaking", 1)
            assert pending(nats_server, stream, row) == 1
            resume_consumer(row.id, actor=SYSTEM)
            wait_published(row, 2)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"password": "wrong"}, "connectors.credentials_refused"),
        ({"host": "no-such-host.invalid"}, "core.egress.host_unresolved"),
        ({"tls_mode": "verify-full"}, "connectors.tls_failed"),
        ({"host": "10.1.2.3"}, "core.egress.denied"),
    ],
    ids=["password", "host", "tls", "private-address"],
)
def test_what_cannot_be_connected_says_why_and_waits(
    committed_acme: Tenant, nats_server: Broker, stream: str, change: dict[str, Any], code: str
) -> None:
    with inside(committed_acme), consumer(broker_connection("nats", nats_server, **change), stream) as row:
        with running():
            failing = wait_until(lambda: (now := fresh(row)).failures and now, "failed")
        assert failing.last_error["code"] == code
        assert failing.last_error["remedy"]
        assert failing.next_attempt_at is not None
        assert failing.published == 0


def test_two_processes_share_the_work_and_tenants_do_not(
    committed_acme: Tenant, committed_globex: Tenant, nats_server: Broker, stream: str
) -> None:
    publish_raw(nats_server, f"{stream}.a", [b'{"n": %d}' % n for n in range(40)])
    with inside(committed_globex):
        other_slug = broker_connection("nats", nats_server)
    with inside(committed_acme), consumer(broker_connection("nats", nats_server), stream) as row:
        with inside(committed_globex), consumer(other_slug, stream) as other:
            before = Event.objects.count()
            with running(), running():
                wait_published(other, 40)
                with inside(committed_acme):
                    wait_published(row, 40)
                    assert Consumer.objects.filter(id=other.id).count() == 0
                    assert [body["n"] for body in bodies_of(row)] == list(range(40))
            assert Event.objects.filter(subject=f"consumer/{row.id}").count() == 0
            assert Event.objects.filter(subject=f"consumer/{other.id}").count() == 40
            assert Event.objects.count() >= before + 40


def test_a_message_starts_a_run(committed_acme: Tenant, nats_server: Broker, stream: str, unique: Any) -> None:
    with inside(committed_acme), consumer(broker_connection("nats", nats_server), stream) as row:
        flow = deployed(
            process(value("a", x="input.total"), input=[{"name": "total", "type": "DECIMAL(18,2)"}]),
            name=unique("From a message"),
        )
        trigger = on_event(
            "message.received.v1",
            flow=flow,
            filter=f"data->>'consumer' = '{row.id}'",
            mapping={"total": "cast(data->'body'->>'total' as decimal(18,2))"},
        )
        deliver_events(FireTriggers())  # the relay has been there before
        publish_raw(nats_server, f"{stream}.a", [json.dumps({"total": "19.99"}).encode()])
        with running():
            wait_published(row, 1)
        number_events()
        while deliver_events(FireTriggers()).lagging:
            continue
        trigger.refresh_from_db()
        assert len(runs_of(trigger)) == 1, (trigger.last_error, trigger.start_position, firings_of(trigger))
        [started] = runs_of(trigger)
        work_on_run(started.pk)
        started.refresh_from_db()
        assert (started.status, started.trigger, started.parameters) == ("succeeded", "event", {"total": 19.99})
        pause_flow(flow.pk, actor=SYSTEM)


def test_a_rate_bound_is_kept(committed_acme: Tenant, nats_server: Broker, stream: str) -> None:
    with inside(committed_acme):
        slug = broker_connection("nats", nats_server)
        with consumer(slug, stream, max_per_second=5) as row:
            publish_raw(nats_server, f"{stream}.a", [b'{"n": %d}' % n for n in range(8)])
            with running():
                wait_until(lambda: fresh(row).published, "the first second's worth")
                assert fresh(row).published <= 7
                wait_published(row, 8)


def test_a_process_publishes_exact_rows_once_and_reads_them_back(
    committed_acme: Tenant, nats_server: Broker, stream: str
) -> None:
    rows = "[{'id': 1, 'total': 10.10}, {'id': 2, 'total': 20.20}]"
    fields = [{"name": "id", "type": "BIGINT"}, {"name": "total", "type": "DECIMAL(18,2)"}]
    with inside(committed_acme):
        slug = broker_connection("nats", nats_server)
        put = {"connection": slug, "entity": f"{stream}.a", "rows": rows, "fields": fields, "disposition": "append"}
        get = {"connection": slug, "entity": stream, "columns": ["body"], "limit": 10}
        done = run(process(step("put", "write", config=put), step("get", "read", config=get)))
        wait_until(lambda: work(done).status in ENDED_RUN_STATUSES, "the end, after passing faults")
        assert done.status == "succeeded", done.error
        assert outputs(done)["put"]["rows"] == 2
        bodies = [json.loads(row["body"]) for row in outputs(done)["get"]["rows"]]
        assert bodies == [{"id": 1, "total": "10.10"}, {"id": 2, "total": "20.20"}]
        # What a crash between the publishing and the step's record leaves: the same ids go out again, and are dropped.
        StepResult.objects.filter(run=done).exclude(path="put").delete()
        StepResult.objects.filter(run=done).update(status="ready", output=None, ended_at=None, due_at=Now())
        Run.objects.filter(pk=done.pk).update(status="running", ended_at=None, result=None)
        again = work(done)
        assert again.status == "succeeded", again.error
        assert jetstream(nats_server, lambda js: js.stream_info(stream)).state.messages == 2
