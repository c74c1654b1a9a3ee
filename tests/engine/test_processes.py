"""Processes: steps in order, branches, errors, the envelope, sub-runs, and what a resume does again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from apps.engine.choices import RunStatus, StepStatus
from apps.engine.contracts import StepContext, StepOutcome
from apps.engine.exceptions import ModeNotPossible, ProcessInputInvalid
from apps.engine.models import Run, RunLog, StepCache, StepResult
from apps.engine.registries import step_types
from apps.engine.services.controlling import cancel_run, resume_run
from apps.engine.services.executing import work_on_run
from apps.engine.services.runs import StartRequest, start_run
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.environments import VariableInput, replace_variables
from apps.integrations.services.flows import publish_flow
from apps.tenancy.models import Tenant
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import outputs, process, run, start, statuses, step, value, work

pytestmark = pytest.mark.usefixtures("as_acme")


def deployed(definition: Any, *, name: str = "") -> Any:
    flow = make_flow(definition, name=name)
    version = publish_flow(flow.pk, actor=SYSTEM).version
    deploy_version(flow.pk, environment="dev", version=version.number, actor=SYSTEM)
    return flow


def make_due(started: Run) -> None:
    StepResult.objects.filter(run=started).update(due_at=Now() - timedelta(seconds=1))


def test_steps_see_input_and_earlier_outputs() -> None:
    done = run(
        process(
            value("net", total="input.total - input.tax"),
            value("gross", total="steps.net.output.total * 2", who="upper(input.who)"),
            output={"total": "steps.gross.output.total", "who": "steps.gross.output.who"},
        ),
        {"total": 12.3, "tax": 0.1, "who": "ada"},
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert done.result == {"total": 24.4, "who": "ADA"}
    assert statuses(done) == {"net": "succeeded", "gross": "succeeded", ".output": "succeeded"}


def test_ten_quick_steps_take_one_visit() -> None:
    started = start(process(*[step(f"s{i}", config={"constants": {"i": i}}) for i in range(10)]))
    assert work_on_run(started.pk) == 0, "none was claimed on its own"
    started.refresh_from_db()
    assert started.status == RunStatus.SUCCEEDED
    assert len(statuses(started)) == 10
    times = StepResult.objects.filter(run=started).order_by("position").values_list("started_at", flat=True)
    assert list(times) == sorted(times)


def branching(match: str = "first") -> Any:
    return process(
        step(
            "check",
            "branch",
            config={
                "match": match,
                "cases": [
                    {"name": "large", "when": "input.total > 1000", "steps": [value("post", to="'manager'")]},
                    {"name": "some", "when": "input.total > 10", "steps": [value("note", to="'clerk'")]},
                ],
                "default": [value("skip", to="'nobody'")],
            },
        ),
        output={"chosen": "steps.check.output.chosen"},
    )


@pytest.mark.parametrize(
    ("match", "total", "chosen", "path"),
    [
        ("first", 5000, ["large"], "check:large/post"),
        ("all", 5000, ["large", "some"], "check:some/note"),
        ("first", 50, ["some"], "check:some/note"),
        ("first", 1, ["default"], "check:default/skip"),
    ],
)
def test_branch_chooses(match: str, total: int, chosen: list[str], path: str) -> None:
    done = run(branching(match), {"total": total})
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert done.result == {"chosen": chosen}
    assert path in statuses(done)
    assert len([known for known in statuses(done) if "/" in known]) == len(chosen)
    assert outputs(done)["check.end"]["chosen"] == chosen


def test_raised_error_fails_the_run_with_its_code() -> None:
    done = run(
        process(
            step("stop", "raise", config={"code": "invoice.refused", "message": "'No: ' || input.why"}), value("never")
        ),
        {"why": "too late"},
    )
    assert done.status == RunStatus.FAILED
    assert done.error == {
        "code": "invoice.refused",
        "message": "No: too late",
        "remedy": None,
        "step": "stop",
        "failed": ["stop"],
    }
    assert statuses(done) == {"stop": "failed"}


def test_error_is_passed_over_or_routed() -> None:
    bad = {"values": {"x": "input.a / input.b"}}
    done = run(
        process(
            step("soft", config=bad, on_error="continue"),
            step("hard", config=bad, on_error="route", error_steps=[value("tell", text="'got ' || error.code")]),
            output={"soft": "steps.soft.error.code", "hard": "steps.hard.error.message"},
        ),
        {"a": 1, "b": 0},
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert done.result["soft"] == "expressions.evaluation_failed"
    assert "zero" in done.result["hard"]
    assert outputs(done)["hard:error/tell"] == {"text": "got expressions.evaluation_failed"}


def test_error_inside_a_branch_is_handled_by_the_step_around_it() -> None:
    inner = step("stop", "raise", config={"message": "'inside'"})
    done = run(
        process(
            step(
                "check",
                "branch",
                config={"cases": [{"name": "yes", "when": "true", "steps": [inner, value("never")]}]},
                on_error="route",
                error_steps=[value("tell", text="error.message")],
            ),
            value("after", text="steps.check.error.message"),
        )
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert outputs(done)["check:error/tell"] == {"text": "inside"}
    assert outputs(done)["after"] == {"text": "inside"}


def test_return_ends_the_flow_from_inside() -> None:
    early = step("early", "return", config={"values": {"found": "input.n"}})
    done = run(
        process(
            step("check", "branch", config={"cases": [{"name": "yes", "when": "input.n > 1", "steps": [early]}]}),
            value("late"),
        ),
        {"n": 3},
    )
    assert done.status == RunStatus.SUCCEEDED
    assert done.result == {"found": 3}
    assert "late" not in statuses(done)


def test_skip_and_mock() -> None:
    done = run(
        process(
            value("skipped", {"skip_if": "input.quick"}, x="1 / 0"),
            value("mocked", {"mock": {"enabled": True, "output": {"x": 7}}}, x="1 / 0"),
            output={"x": "steps.mocked.output.x"},
        ),
        {"quick": True},
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert done.result == {"x": 7}
    assert statuses(done)["skipped"] == StepStatus.SKIPPED


def test_cache_answers_for_the_same_key_only() -> None:
    definition = process(
        value("slow", {"cache": {"key": "input.k", "ttl_s": 60}}, run="run.id"),
        output={"run": "steps.slow.output.run"},
    )
    flow = make_flow(definition)

    def once(key: int) -> Any:
        started = start_run(StartRequest(flow.pk, "dev", version="draft", parameters={"k": key}), actor=SYSTEM)
        return work(started).result["run"]

    first = once(1)
    assert once(1) == first
    assert once(2) != first
    StepCache.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert once(1) != first


class Flaky(dict[str, int]):
    """Makes the read step fail a number of times, without a system."""


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    from apps.core.exceptions import TransientError

    state: dict[str, Any] = {"fails": 0, "calls": []}

    def act(self: Any, context: StepContext, step: Any, scope: Any) -> StepOutcome:
        state["calls"].append((context.path, context.attempt))
        if state["fails"] > 0:
            state["fails"] -= 1
            raise TransientError("Away.")
        return StepOutcome(output={"rows": [], "count": 0})

    monkeypatch.setattr(type(step_types.get("process.read")), "run", act)
    return state


def reading(id_: str = "read", **envelope: Any) -> Any:
    return step(id_, "read", config={"connection": "warehouse", "entity": "x"}, **envelope)


def test_passing_fault_is_retried_inside_a_branch(flaky: dict[str, Any]) -> None:
    flaky["fails"] = 2
    cases = [{"name": "yes", "when": "true", "steps": [reading(retry={"max_attempts": 3, "base_s": 0.0})]}]
    started = start(process(step("check", "branch", config={"cases": cases}), value("after")))
    for _ in range(3):
        work(started)
        make_due(started)
    assert work(started).status == RunStatus.SUCCEEDED
    assert flaky["calls"] == [("check:yes/read", 1), ("check:yes/read", 2), ("check:yes/read", 3)]
    assert StepResult.objects.filter(run=started, path="check:yes/read").count() == 3


def test_quick_step_is_retried_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.core.exceptions import TransientError

    calls: list[int] = []

    def act(self: Any, context: StepContext, step: Any, scope: Any) -> StepOutcome:
        calls.append(context.attempt)
        if context.path == "b" and len(calls) < 3:
            raise TransientError("Away.")
        return StepOutcome()

    monkeypatch.setattr(type(step_types.get("process.transform")), "run", act)
    started = work(start(process(value("a"), value("b", {"retry": {"base_s": 0.0}}))))
    while started.status == RunStatus.RUNNING:
        make_due(started)
        work(started)
    assert started.status == RunStatus.SUCCEEDED
    assert StepResult.objects.filter(run=started, path="b").count() == 2


def test_resume_does_the_failed_step_again_and_keeps_the_rest(flaky: dict[str, Any]) -> None:
    flaky["fails"] = 1
    cases = [{"name": "yes", "when": "true", "steps": [value("before"), reading(retry={"max_attempts": 1})]}]
    started = work(
        start(
            process(
                value("soft", {"on_error": "continue"}, x="1 / 0"),
                step("check", "branch", config={"cases": cases}),
            )
        )
    )
    assert started.status == RunStatus.FAILED
    assert started.error["step"] == "check:yes/read"
    resume_run(started.pk, actor=SYSTEM)
    assert work(started).status == RunStatus.SUCCEEDED
    attempts = dict(StepResult.objects.filter(run=started, latest=True).values_list("path", "attempt"))
    assert attempts == {"soft": 1, "check": 1, "check:yes/before": 1, "check:yes/read": 2, "check.end": 1}


def test_sub_process_is_waited_for_without_worker_or_slot() -> None:
    child = deployed(
        process(value("x", n="input.n + 1"), output={"n": "steps.x.output.n"}, input=[{"name": "n", "type": "BIGINT"}])
    )
    parent = work(
        start(
            process(
                step("call", "flow", config={"flow": child.slug, "input": {"n": "input.n"}}),
                output={"n": "steps.call.output.n"},
            ),
            {"n": 41},
        )
    )
    assert parent.status == RunStatus.WAITING
    assert statuses(parent) == {"call": "parked"}
    below = Run.objects.get(parent=parent)
    assert below.trigger == "process"
    assert work(below).status == RunStatus.SUCCEEDED
    assert work(parent).status == RunStatus.SUCCEEDED
    assert parent.result == {"n": 42}


def test_sub_process_may_be_left_alone_or_fail_its_parent() -> None:
    child = deployed(process(step("stop", "raise", config={"message": "'broken'"})))
    alone = run(process(step("call", "flow", config={"flow": child.slug, "wait": False})))
    assert alone.status == RunStatus.SUCCEEDED
    parent = run(process(step("call", "flow", config={"flow": child.slug})))
    work(Run.objects.get(parent=parent))
    assert work(parent).status == RunStatus.FAILED
    assert "broken" in parent.error["message"]


def test_cancelling_a_parent_cancels_what_it_waits_for() -> None:
    child = deployed(process(value("x")))
    parent = run(process(step("call", "flow", config={"flow": child.slug})))
    cancel_run(parent.pk, actor=SYSTEM)
    parent.refresh_from_db()
    assert parent.status == RunStatus.CANCELLED
    assert Run.objects.get(parent=parent).status == RunStatus.CANCELLED


def test_message_is_published_with_its_step() -> None:
    config = {"event": "invoice.approved", "correlation": "input.id", "data": {"total": "input.total"}}
    done = run(process(step("tell", "publish", config=config)), {"id": 7, "total": 1.5})
    assert done.status == RunStatus.SUCCEEDED, done.error
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM events_event WHERE type LIKE %s", ["%process.message.v1"])
        (row,) = cursor.fetchall()
    import json

    data = row[0] if isinstance(row[0], dict) else json.loads(row[0])
    assert (data["name"], data["correlation"], data["data"]) == ("invoice.approved", "7", {"total": 1.5})


def test_input_is_checked_against_its_declaration() -> None:
    flow = make_flow(process(value("x"), input=[{"name": "day", "type": "DATE", "nullable": False}]))

    def begin(**parameters: Any) -> Run:
        return start_run(StartRequest(flow.pk, "dev", version="draft", parameters=parameters), actor=SYSTEM)

    with pytest.raises(ProcessInputInvalid, match="needs 'day'"):
        begin()
    with pytest.raises(ProcessInputInvalid, match="no field 'x'"):
        begin(day="2026-01-01", x=1)
    with pytest.raises(ProcessInputInvalid, match="not a DATE"):
        begin(day="soon")
    assert begin(day="2026-01-31").parameters == {"day": "2026-01-31"}
    with pytest.raises(ModeNotPossible):
        start_run(StartRequest(flow.pk, "dev", version="draft", mode="incremental"), actor=SYSTEM)


class WorkerDied(BaseException):
    """Stands for a killed process: nothing after it happens."""


def test_quick_step_that_kills_its_workers_is_found_and_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(self: Any, context: StepContext, step: Any, scope: Any) -> StepOutcome:
        if context.path == "b":
            raise WorkerDied
        return StepOutcome()

    def die(*_args: Any, **_named: Any) -> Any:
        raise WorkerDied

    monkeypatch.setattr(type(step_types.get("process.transform")), "run", act)
    started = start(process(value("a"), value("b"), value("c")))
    with pytest.raises(WorkerDied), transaction.atomic():
        work_on_run(started.pk)
    assert statuses(started) == {"a": "ready"}, "the visit left nothing behind"
    StepResult.objects.filter(run=started).update(
        rung_at=Now() - timedelta(minutes=1), due_at=Now() - timedelta(minutes=1)
    )
    monkeypatch.setattr("apps.engine.services.executing.to_portal_error", die)
    for _ in range(3):
        with pytest.raises(WorkerDied):
            work_on_run(started.pk)
        StepResult.objects.filter(run=started, status="running").update(lease_expires_at=Now() - timedelta(seconds=1))
    work(started)
    assert started.status == RunStatus.FAILED
    assert (started.error["code"], started.error["step"]) == ("engine.step.poisoned", "b")
    assert statuses(started) == {"a": "succeeded", "b": "failed"}


def test_runs_of_a_process_stand_side_by_side_up_to_its_limit() -> None:
    flow = make_flow(process(value("x"), limits={"concurrency": 2}))
    runs = [start_run(StartRequest(flow.pk, "dev", version="draft"), actor=SYSTEM) for _ in range(3)]
    assert [Run.objects.get(pk=one.pk).status for one in runs] == ["running", "running", "queued"]
    work(runs[0])
    assert work(runs[2]).status == RunStatus.SUCCEEDED


def test_log_tells_of_handled_errors() -> None:
    done = run(process(value("soft", {"on_error": "continue"}, x="1 / 0")))
    lines = RunLog.objects.filter(run=done, level="warning").values_list("message", flat=True)
    assert any("zero" in line for line in lines)


def test_step_is_shown_with_its_output_to_who_may_see_data(api_for: Any, acme: Tenant, globex: Tenant) -> None:
    done = run(process(value("x", n="41 + 1"), output={"n": "steps.x.output.n"}))
    found = StepResult.objects.get(run=done, path="x")
    address = f"/api/v2/runs/{done.pk}/steps/{found.pk}"
    shown = api_for(acme).get(address)
    assert shown.status_code == 200, shown.content
    assert shown.json()["output"] == {"n": 42}
    assert api_for(acme).get(f"/api/v2/runs/{done.pk}").json()["result"] == {"n": 42}
    assert api_for(acme, permissions=("run:view",)).get(address).status_code == 403
    assert api_for(globex).get(address).status_code == 404


def inputs_of(client: Any, done: Run, path: str) -> dict[str, Any]:
    found = StepResult.objects.get(run=done, path=path)
    shown = client.get(f"/api/v2/runs/{done.pk}/steps/{found.pk}").json()["inputs"]
    return {item["place"]: item["problem"] or item["value"] for item in shown}


def test_a_step_shows_what_its_expressions_came_to(api_for: Any, acme: Tenant) -> None:
    body = [
        value("net", {"skip_if": "item > 100"}, n="item * 2"),
        step("say", "raise", config={"message": "'at ' || index"}),
    ]
    failed = run(
        process(
            value("first", n="input.n + 1", who="var.who"),
            step("each", "foreach", config={"items": "[steps.first.output.n, 8]", "steps": body}),
            variables={"who": "ada"},
        ),
        {"n": 6},
    )
    client = api_for(acme)
    assert inputs_of(client, failed, "first") == {"config.values.n": 7, "config.values.who": "ada"}
    assert inputs_of(client, failed, "each") == {"config.items": [7, 8]}
    assert inputs_of(client, failed, "each[0]/net") == {"config.values.n": 14, "skip_if": False}
    assert inputs_of(client, failed, "each[0]/say") == {"config.message": "at 0"}


def test_a_secret_variable_is_masked_where_inputs_are_shown(api_for: Any, acme: Tenant) -> None:
    secret = [VariableInput("token", "s3cret-value", secret=True)]
    replace_variables("dev", secret, actor=SYSTEM)
    done = run(process(value("use", length="length(var.token)", text="var.token"), variables={"token": None}))
    assert outputs(done)["use"]["length"] == len("s3cret-value")
    shown = inputs_of(api_for(acme), done, "use")
    assert "s3cret-value" not in str(shown)
    assert shown["config.values.text"]


def test_what_has_no_value_says_why(api_for: Any, acme: Tenant) -> None:
    failed = run(process(value("broken", n="input.n / 0")), {"n": 1})
    assert "zero" in inputs_of(api_for(acme), failed, "broken")["config.values.n"].lower()


def test_the_attempts_at_one_step_are_listed(api_for: Any, acme: Tenant, globex: Tenant) -> None:
    failed = run(process(value("fine", n="1"), value("broken", n="input.n / 0")), {"n": 1})
    resume_run(failed.pk, actor=SYSTEM)
    work(failed)
    address = f"/api/v2/runs/{failed.pk}/steps"
    listed = api_for(acme).get(address, {"path": "broken"}).json()["results"]
    assert [(item["path"], item["attempt"], item["status"]) for item in listed] == [
        ("broken", 2, "failed"),
        ("broken", 1, "failed"),
    ]
    assert len(api_for(acme).get(address).json()["results"]) == 3
    assert api_for(globex).get(address, {"path": "broken"}).status_code == 404


def test_another_tenant_sees_no_process(api_for: Any, globex: Tenant, acme: Tenant) -> None:
    done = run(process(value("x")))
    assert api_for(acme).get(f"/api/v2/runs/{done.pk}").status_code == 200
    assert api_for(globex).get(f"/api/v2/runs/{done.pk}").status_code == 404
