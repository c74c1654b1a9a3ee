"""Steps whose system is left alone: parked without a worker, called at the breaker's moment, no attempt spent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.connectors.events import CIRCUIT_CLOSED
from apps.connectors.models import Breaker, Connection
from apps.connectors.services.breakers import reset_breaker
from apps.connectors.services.connections import create_connection
from apps.engine.choices import RunStatus
from apps.engine.models import Run, RunLog, StepResult
from apps.engine.receivers import CallAgain
from apps.engine.services.controlling import cancel_run
from apps.engine.services.sweeping import sweep_tenant
from apps.events.models import Event
from apps.events.selectors import to_record
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.connectors.rest_server import ApiServer, serve
from tests.engine.erp import Erp
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import process, run, start, statuses, step, value, work
from tests.engine.systems import unique_name

pytestmark = pytest.mark.committed
NO_WAIT = {"max_attempts": 3, "base_s": 0, "cap_s": 0, "jitter": 0}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serve() as server:
        yield server


@pytest.fixture
def rest(api: ApiServer, committed_acme: Tenant) -> Iterator[Connection]:
    """A connection of acme to the API, which opens after two failures and pauses for a minute."""
    slug = unique_name("api").replace("_", "-")
    config = {
        "base_url": api.base_url,
        "requests_per_second": 1000,
        "resources": [{"name": "invoices", "path": "plain"}],
    }
    with tenant_context(committed_acme):
        row = create_connection(name=slug, slug=slug, connector="rest", config=config, secrets={}, actor=SYSTEM)
        Breaker.objects.create(connection=row, threshold=2, pause_s=60)
        yield row


def read(connection: Connection, id_: str = "get", **envelope: Any) -> Any:
    return step(id_, "read", config={"connection": connection.slug, "entity": "invoices"}, retry=NO_WAIT, **envelope)


def open_circuit(connection: Connection, *, until_s: float = 60) -> None:
    failure = {"code": "connectors.unavailable", "message": "It is down.", "remedy": ""}
    Breaker.objects.filter(connection=connection).update(
        state="open",
        failures=2,
        openings=1,
        opened_at=Now(),
        next_probe_at=Now() + timedelta(seconds=until_s),
        last_failure=failure,
    )


def end_pause(connection: Connection, started: Run) -> None:
    """The database's clock has passed the moment of the probe."""
    Breaker.objects.filter(connection=connection).update(next_probe_at=Now())
    StepResult.objects.filter(run=started, status="parked").update(due_at=Now())


def breaker_of(connection: Connection) -> Breaker:
    return Breaker.objects.get(connection=connection)


def test_failing_steps_open_it_and_the_next_attempt_waits_without_calling(api: ApiServer, rest: Connection) -> None:
    api.failures = [503] * 10  # two calls of five tries each
    waiting = run(process(read(rest)))
    one = StepResult.objects.get(run=waiting, path="get", latest=True)
    assert (waiting.status, one.status, one.attempt) == (RunStatus.WAITING, "parked", 3)
    assert len(api.requests) == 10
    assert breaker_of(rest).state == "open"
    assert one.due_at == breaker_of(rest).next_probe_at
    assert waiting.wake_at is not None
    assert waiting.wake_at <= one.due_at
    assert "is left alone until" in one.detail
    assert "The API answered 503" in one.detail

    end_pause(rest, waiting)
    done = work(waiting)
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert StepResult.objects.filter(run=done, path="get").count() == 3, "waiting spent no attempt"
    assert breaker_of(rest).state == "closed"


def test_many_steps_wait_and_one_of_them_probes(api: ApiServer, rest: Connection) -> None:
    open_circuit(rest)
    runs = [run(process(read(rest))) for _ in range(3)]
    assert [statuses(one) for one in runs] == [{"get": "parked"}] * 3
    assert not api.requests
    api.failures = [503] * 5
    for one in runs:
        end_pause(rest, one)
    first = work(runs[0])
    assert (len(api.requests), breaker_of(rest).openings) == (5, 2), "the probe failed, so the pause doubles"
    for one in runs[1:]:
        work(one)
    assert len(api.requests) == 5
    again = StepResult.objects.get(run=first, path="get", latest=True)
    assert (again.attempt, again.status) == (2, "parked"), "the probe was a call, so it was an attempt"
    lines = RunLog.objects.filter(run=runs[1], message__contains="left alone")
    assert lines.count() == 1, "said once, however long it waits"


def test_closing_it_rings_the_runs_that_wait(api: ApiServer, rest: Connection, committed_acme: Tenant) -> None:
    open_circuit(rest)
    waiting = run(process(read(rest)))
    reset_breaker(rest.id, actor=SYSTEM)
    event = Event.objects.get(subject=f"connection/{rest.id}", type__endswith=CIRCUIT_CLOSED)
    CallAgain().handle(committed_acme, to_record(event))
    waiting.refresh_from_db()
    assert waiting.status == RunStatus.RUNNING
    assert work(waiting).status == RunStatus.SUCCEEDED


def test_the_sweeper_rings_a_waiting_run_when_its_moment_has_come(rest: Connection) -> None:
    open_circuit(rest)
    waiting = run(process(read(rest)))
    end_pause(rest, waiting)
    Run.objects.filter(pk=waiting.pk).update(wake_at=Now())
    assert sweep_tenant() >= 1


def test_a_step_that_waits_for_its_system_can_be_cancelled(rest: Connection) -> None:
    open_circuit(rest)
    waiting = run(process(read(rest)))
    assert cancel_run(waiting.pk, actor=SYSTEM).status == RunStatus.CANCELLED
    assert statuses(waiting) == {"get": "cancelled"}


def test_steps_of_other_systems_go_on_meanwhile(rest: Connection) -> None:
    open_circuit(rest)
    branches = [
        {"name": "down", "steps": [read(rest)]},
        {"name": "up", "steps": [value("calm", a="1")]},
    ]
    both = run(process(step("both", "parallel", config={"join": "all", "branches": branches})))
    found = statuses(both)
    assert (both.status, found["both:down/get"], found["both:up/calm"]) == (RunStatus.WAITING, "parked", "succeeded")


def test_a_load_waits_without_a_slot_and_goes_on(erp: Any) -> None:
    source: Erp = erp(rows=5)
    connection = source.connection
    Breaker.objects.create(connection=connection)
    open_circuit(connection)
    waiting = source.load()
    assert waiting.status == RunStatus.WAITING
    assert statuses(waiting)["load/open"] == "parked"
    end_pause(connection, waiting)
    done = work(waiting)
    assert (done.status, done.rows_written) == (RunStatus.SUCCEEDED, 5), done.error
    assert breaker_of(connection).state == "closed"


def test_a_database_that_goes_away_is_counted_against_itself_only(erp: Any) -> None:
    source: Erp = erp(rows=5)
    connection = source.connection
    Breaker.objects.create(connection=connection, threshold=1)
    Connection.objects.filter(pk=connection.pk).update(config={**connection.config, "port": 9})
    waiting = source.load()
    assert breaker_of(connection).state == "open"
    assert waiting.status in (RunStatus.WAITING, RunStatus.RUNNING)
    warehouse = Breaker.objects.filter(connection__slug="warehouse").first()
    assert warehouse is None or warehouse.failures == 0


def test_another_tenants_circuit_is_its_own(
    api: ApiServer, rest: Connection, committed_acme: Tenant, committed_globex: Tenant
) -> None:
    open_circuit(rest)
    with tenant_context(committed_globex):
        twin = create_connection(
            name=rest.slug, slug=rest.slug, connector="rest", config=rest.config, secrets={}, actor=SYSTEM
        )
        assert run(process(read(twin))).status == RunStatus.SUCCEEDED
        assert not Breaker.objects.filter(connection=twin).exists(), "nothing is written while all goes well"
    with tenant_context(committed_acme):
        assert work(start(process(read(rest)))).status == RunStatus.WAITING
