"""Processes from Python: the reference's monthly report, error handlers, time limits, what handlers may return."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.core.exceptions import PortalError, TransientError
from apps.core.registries import AlreadyRegistered, UnknownType
from apps.engine.choices import RunStatus
from apps.engine.exceptions import ProcessEnded, ProcessUnfinished
from apps.engine.models import Run, StepResult
from apps.engine.receivers import FireTriggers
from apps.engine.services.orchestrator import HandlerStep, ProcessOrchestrator
from apps.engine.services.restart_plans import RestartRequest
from apps.engine.services.restart_previews import preview_restart
from apps.engine.services.restarting import restart_run
from apps.events.models import Event
from apps.events.services.event_contracts import create_contract, publish_custom_event
from apps.integrations.exceptions import DefinitionInvalid, FlowNotFound
from apps.integrations.process_contracts import StepRetry
from apps.integrations.registries import HandlerCall, process_handler
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import require_tenant, tenant_context
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import statuses, work
from tests.engine.trigger_factories import numbered

CALLS: list[HandlerCall] = []
ONCE = StepRetry(max_attempts=1)


@process_handler("tests.fetch")
def fetch_financial_data(call: HandlerCall) -> dict[str, Any]:
    CALLS.append(call)
    if call.input.get("broken"):
        raise PortalError("The ledger is closed.")
    return {"rows": [{"amount": 12.5}, {"amount": 30}], "date": call.input["report_date"]}


@process_handler("tests.fetch_failed")
def handle_data_fetch_error(call: HandlerCall) -> dict[str, Any]:
    CALLS.append(call)
    assert call.error is not None
    return {"told": call.error["message"]}


@process_handler("tests.process")
def process_financial_data(call: HandlerCall) -> dict[str, Any]:
    rows = call.outputs["fetch-data"].get("rows", [])
    return {"total": sum(row["amount"] for row in rows), "factor": call.arguments.get("factor")}


@process_handler("tests.report")
def generate_report(call: HandlerCall) -> dict[str, Any]:
    return {"title": f"{call.input['report_type']}: {call.outputs['process-data']['total']:.2f}"}


@process_handler("tests.distribute")
def distribute_report(call: HandlerCall) -> dict[str, Any]:
    return {"sent": list(call.input["recipients"]), "title": call.outputs["generate-report"]["title"]}


@process_handler("tests.hang")
def hang(_call: HandlerCall) -> None:
    time.sleep(60)


@process_handler("tests.flaky")
def flaky(call: HandlerCall) -> dict[str, Any]:
    CALLS.append(call)
    if call.attempt == 1:
        raise TransientError("Not now.")
    return {"attempt": call.attempt}


@process_handler("tests.odd")
def return_oddly(call: HandlerCall) -> Any:
    return {"number": 5, "nan": {"value": float("nan")}, "mark": {"$final": True}}[call.input["what"]]


REPORT = [
    HandlerStep("fetch-data", fetch_financial_data, error_handler=handle_data_fetch_error, timeout_s=300, retry=ONCE),
    HandlerStep("process-data", process_financial_data, ["fetch-data"], arguments={"factor": "1.5"}),
    HandlerStep("generate-report", generate_report, ["process-data"]),
    HandlerStep("distribute-report", distribute_report, ["generate-report"]),
]
PARAMETERS = {"report_date": "2026-10-31", "report_type": "financial", "recipients": ["finance@example.com"]}


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


@contextmanager
def worker(tenant: Tenant) -> Iterator[None]:
    """A worker of this process that executes whatever run there is."""
    done = threading.Event()

    def serve() -> None:
        try:
            with tenant_context(tenant):
                while not done.wait(0.02):
                    for run in Run.objects.filter(status__in=(RunStatus.QUEUED, RunStatus.RUNNING)):
                        work(run)
        finally:
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.committed
def test_the_monthly_report_of_the_reference(committed_acme: Tenant) -> None:
    with tenant_context(committed_acme):
        orchestrator = ProcessOrchestrator("monthly-financial-report", actor=SYSTEM)
        orchestrator.define_process(REPORT)
        with worker(committed_acme):
            result = orchestrator.execute(PARAMETERS, timeout_s=30)
    assert result == {
        "distribute_report": {"sent": ["finance@example.com"], "title": "financial: 42.50"},
    }


@pytest.mark.committed
def test_the_same_key_waits_for_the_same_run(committed_acme: Tenant) -> None:
    with tenant_context(committed_acme):
        orchestrator = ProcessOrchestrator("report with a key", actor=SYSTEM)
        orchestrator.define_process(REPORT)
        with worker(committed_acme):
            first = orchestrator.execute(PARAMETERS, timeout_s=30, idempotency_key="october")
            second = orchestrator.execute(PARAMETERS, timeout_s=30, idempotency_key="october")
    assert first == second
    assert len(CALLS) == 1


def deliver(event: Any) -> None:
    FireTriggers().handle_batch(require_tenant(), [event])


def test_defining_the_same_again_changes_nothing(as_acme: Tenant) -> None:
    orchestrator = ProcessOrchestrator("report again", actor=SYSTEM)
    assert orchestrator.define_process(REPORT) == 1
    assert orchestrator.define_process(REPORT) == 1
    assert orchestrator.define_process(REPORT[:2]) == 2


def test_an_error_handler_lets_the_process_go_on(as_acme: Tenant) -> None:
    orchestrator = ProcessOrchestrator("report of nothing", actor=SYSTEM)
    orchestrator.define_process(REPORT)
    run = work(Run.objects.get(pk=orchestrator.start({**PARAMETERS, "broken": True})))
    assert run.status == RunStatus.SUCCEEDED, run.error
    assert run.result["distribute_report"]["title"] == "financial: 0.00"
    told = StepResult.objects.get(run=run, path="fetch-data:error/fetch-data-error")
    assert told.output == {"told": "The ledger is closed."}
    assert CALLS[1].error is not None
    assert CALLS[1].error["step"] == "fetch-data"


def test_without_one_the_process_fails_and_says_where(as_acme: Tenant) -> None:
    orchestrator = ProcessOrchestrator("report that fails", actor=SYSTEM)
    orchestrator.define_process([HandlerStep("fetch-data", fetch_financial_data, retry=ONCE)])
    run_id = orchestrator.start({**PARAMETERS, "broken": True})
    work(Run.objects.get(pk=run_id))
    with pytest.raises(ProcessEnded, match="The ledger is closed"):
        orchestrator.wait_for(run_id, timeout_s=1)


def test_who_waits_too_shortly_is_told_that_it_goes_on(as_acme: Tenant) -> None:
    orchestrator = ProcessOrchestrator("report that nobody works on", actor=SYSTEM)
    orchestrator.define_process(REPORT)
    with pytest.raises(ProcessUnfinished, match="has not ended"):
        orchestrator.execute(PARAMETERS, timeout_s=0.1)


def test_a_function_that_hangs_is_interrupted(as_acme: Tenant) -> None:
    orchestrator = ProcessOrchestrator("hanging", actor=SYSTEM)
    orchestrator.define_process([HandlerStep("hang", hang, timeout_s=0.3, retry=ONCE)])
    run = work(Run.objects.get(pk=orchestrator.start({})))
    assert run.status == RunStatus.FAILED
    assert run.error["code"] == "engine.step.timeout"


def test_a_passing_fault_is_tried_again_with_the_same_key(as_acme: Tenant) -> None:
    orchestrator = ProcessOrchestrator("flaky", actor=SYSTEM)
    orchestrator.define_process([HandlerStep("ask", flaky, retry=StepRetry(base_s=0, jitter=0))])
    run = work(Run.objects.get(pk=orchestrator.start({})))
    run = run if run.status == RunStatus.SUCCEEDED else work(run)
    assert run.result == {"ask": {"attempt": 2}}
    assert len({call.idempotency_key for call in CALLS}) == 1


@pytest.mark.parametrize("what", ["number", "nan", "mark"])
def test_what_is_no_json_object_is_refused(as_acme: Tenant, what: str) -> None:
    orchestrator = ProcessOrchestrator("odd", actor=SYSTEM)
    orchestrator.define_process([HandlerStep("odd", return_oddly)])
    run = work(Run.objects.get(pk=orchestrator.start({"what": what})))
    assert run.error["code"] == "engine.step.handler_output"


def test_steps_of_other_kinds_stand_beside_handlers(as_acme: Tenant) -> None:
    """The reference's hybrid: announce, wait for what the services answer, go on."""
    orchestrator = ProcessOrchestrator("financial-reporting", actor=SYSTEM)
    orchestrator.define_process(
        [
            {"id": "start", "kind": "publish", "config": {"event": "data-collection.start", "correlation": "input.id"}},
            {
                "id": "collected",
                "kind": "wait",
                "dependencies": ["start"],
                "config": {"event": "data-collection.complete", "correlation": "input.id", "timeout_s": "600"},
            },
            HandlerStep("fetch-data", fetch_financial_data, ["collected"]),
        ]
    )
    run = work(Run.objects.get(pk=orchestrator.start({"id": "r1", **PARAMETERS})))
    assert run.status == RunStatus.WAITING
    assert statuses(run) == {"start": "succeeded", "collected": "parked"}


def test_a_restart_calls_handlers_again_under_their_old_keys(as_acme: Tenant) -> None:
    """Beside `process-data` nothing depends on `other`, so a restart from `process-data` keeps it."""
    orchestrator = ProcessOrchestrator("report once more", actor=SYSTEM)
    orchestrator.define_process([*REPORT[:2], HandlerStep("other", flaky, retry=StepRetry(base_s=0, jitter=0))])
    old = work(Run.objects.get(pk=orchestrator.start(PARAMETERS)))
    old = old if old.status == RunStatus.SUCCEEDED else work(old)
    for path, kept, calls in (("process-data", 2, 3), ("fetch-data", 1, 4)):
        request = RestartRequest(old.pk, path)
        seen = preview_restart(request, actor=SYSTEM)
        assert seen.kept == kept
        new = work(restart_run(request, preview=seen.hash, actor=SYSTEM))
        assert (new.status, new.result) == (RunStatus.SUCCEEDED, old.result)
        assert len(CALLS) == calls
    fetched = [call.idempotency_key for call in CALLS if call.step == "fetch-data"]
    assert len(fetched) == 2
    assert len(set(fetched)) == 1


REQUESTED, READY = "com.acme.report.requested.v1", "com.acme.financial-data.ready.v1"


def test_services_that_know_each_other_by_events_only(as_acme: Tenant) -> None:
    """The reference's choreography: whoever wants a report announces it, and does not know who makes one."""
    text = {"type": "string"}
    create_contract(REQUESTED, schema={"type": "object", "properties": {"id": text, "date": text}}, actor=SYSTEM)
    create_contract(READY, schema={"type": "object", "properties": {"id": text, "rows": {}}}, actor=SYSTEM)
    ready = {"id": "input.id", "rows": 'to_json(steps."fetch-data".output.rows)'}
    data_service = ProcessOrchestrator("data-service", actor=SYSTEM)
    data_service.define_process(
        [
            HandlerStep("fetch-data", fetch_financial_data),
            {
                "id": "tell",
                "kind": "publish",
                "dependencies": ["fetch-data"],
                "config": {"event": READY, "data": ready},
            },
        ]
    )
    asked = {"id": "data->>'id'", "report_date": "data->>'date'"}
    first = data_service.start_on(REQUESTED, mapping=asked, filter="subject = 'else'")
    assert data_service.start_on(REQUESTED, mapping=asked) == first, "one trigger, changed"
    report_service = ProcessOrchestrator("report-service", actor=SYSTEM)
    report_service.define_process([{"id": "report", "kind": "transform", "config": {"values": {"id": "input.id"}}}])
    report_service.start_on(READY, mapping={"id": "data->>'id'"})

    requested = publish_custom_event(
        REQUESTED, subject="report/7", data={"id": "7", "date": "2026-10-31"}, client_id="r7", actor=SYSTEM
    )
    deliver(numbered(requested.event_id))
    run = work(Run.objects.get(flow_name="data-service"))
    assert run.status == RunStatus.SUCCEEDED, run.error
    deliver(numbered(Event.objects.get(type=READY).pk))
    assert work(Run.objects.get(flow_name="report-service")).result == {"report": {"id": "7"}}


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        pytest.param([HandlerStep("a", "tests.nobody")], "steps[0].config.handler", id="unknown handler"),
        pytest.param([HandlerStep("a", hang, ["b"])], "steps[0].dependencies[0]", id="unknown dependency"),
        pytest.param([HandlerStep("a", hang), HandlerStep("a", hang)], "steps[1].id", id="twice"),
    ],
)
def test_a_wrong_process_is_not_published(as_acme: Tenant, steps: list[HandlerStep], path: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        ProcessOrchestrator("wrong", actor=SYSTEM).define_process(steps)
    assert path in {problem.path for problem in caught.value.problems}


def test_a_function_without_a_name_and_a_name_with_two_functions() -> None:
    with pytest.raises(UnknownType, match="no process handler"):
        HandlerStep("a", lambda _call: None).to_json()
    with pytest.raises(AlreadyRegistered):
        process_handler("tests.hang")(fetch_financial_data)


def test_defining_and_starting_need_permissions(as_acme: Tenant) -> None:
    nobody = Actor(kind="user", id=None, name="nobody", permissions=frozenset())
    with pytest.raises(PermissionDenied):
        ProcessOrchestrator("not mine", actor=nobody).define_process(REPORT)


def test_another_tenant_does_not_see_the_process(acme: Tenant, globex: Tenant) -> None:
    with tenant_context(acme):
        ProcessOrchestrator("ours alone", actor=SYSTEM).define_process(REPORT)
    with tenant_context(globex), pytest.raises(FlowNotFound):
        ProcessOrchestrator("ours alone", actor=SYSTEM).start(PARAMETERS)
