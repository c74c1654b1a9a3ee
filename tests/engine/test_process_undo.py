"""Compensation: what a failed or cancelled process undoes, in which order, and what becomes of a failed undoing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.core.ids import uuid7
from apps.engine.choices import RunStatus, StepStatus
from apps.engine.exceptions import RunNotControllable
from apps.engine.models import Run, StepResult
from apps.engine.registries import step_types
from apps.engine.services.advancing import advance
from apps.engine.services.controlling import cancel_run, resume_run, retry_compensation
from apps.events.services.event_contracts import create_contract, publish_contract_version
from apps.integrations.process_contracts import ProcessDefinition
from apps.integrations.services.canonical import content_hash
from apps.integrations.services.processes import find_process_problems
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import outputs, process, run, start, statuses, step, value, work

pytestmark = pytest.mark.usefixtures("as_acme")

STOP = step("stop", "raise", config={"code": "order.refused", "message": "'No stock'"})


def undone(started: Run) -> list[str]:
    """Paths of what undid something, in order of execution."""
    steps = StepResult.objects.filter(run=started, path__startswith="compensate/", latest=True).order_by("position")
    return [path.removeprefix("compensate/") for path in steps.values_list("path", flat=True)]


def with_undo(id_: str, **values: str) -> Any:
    return value(id_, {"compensation": value(f"un-{id_}", **(values or {"of": f"'{id_}'"}))}, n="1")


def test_failed_run_undoes_its_completed_steps_in_reverse() -> None:
    done = run(process(with_undo("reserve"), value("plain"), with_undo("charge"), STOP, with_undo("ship")))
    assert done.status == RunStatus.FAILED
    assert done.error["code"] == "order.refused"
    assert undone(done) == ["charge/un-charge", "reserve/un-reserve"]
    assert done.compensation["status"] == "done"
    assert done.compensation["steps"] == ["charge", "reserve"]
    assert done.compensation["remaining"] == []


def test_compensation_sees_the_step_the_item_and_the_error() -> None:
    inside = value(
        "pay",
        {"compensation": [value("back", who="item.who", paid="steps.pay.output.paid", why="error.code")]},
        paid="item.n * 2",
    )
    stop = step("stop", "raise", config={"code": "late", "message": "'x'"}, skip_if="index < 1")
    done = run(process(step("each", "foreach", config={"items": "input.items", "steps": [inside, stop]})),
               {"items": [{"who": "ada", "n": 1}, {"who": "bob", "n": 2}, {"who": "cy", "n": 3}]})  # fmt: skip
    assert done.status == RunStatus.FAILED
    assert undone(done) == ["each[1]/pay/back", "each[0]/pay/back"]
    assert outputs(done)["compensate/each[1]/pay/back"] == {"who": "bob", "paid": 4, "why": "late"}


def test_only_completed_steps_of_branches_and_parallels_are_undone() -> None:
    wait = step("hang", "delay", config={"seconds": "3600"}, compensation=value("un-hang"))
    body = step("both", "parallel", config={"branches": [
        {"name": "one", "steps": [with_undo("a"), STOP]}, {"name": "two", "steps": [with_undo("b"), wait]},
    ]}, compensation=value("un-both"))  # fmt: skip
    case = step("which", "branch", config={"cases": [{"name": "yes", "when": "true", "steps": [with_undo("c")]}]},
                compensation=value("un-which", chosen="steps.which.output.chosen[1]"))  # fmt: skip
    done = run(process(case, body))
    assert done.status == RunStatus.FAILED
    assert set(undone(done)) == {"both:one/a/un-a", "both:two/b/un-b", "which/un-which", "which:yes/c/un-c"}
    assert undone(done)[-2:] == ["which/un-which", "which:yes/c/un-c"]
    assert outputs(done)["compensate/which/un-which"] == {"chosen": "yes"}
    assert statuses(done)["both:two/hang"] == "cancelled"


def test_handled_error_skipped_and_mocked_steps_undo_nothing() -> None:
    undo = value("undo")
    mocked = step("mocked", compensation=value("un-m"), mock={"enabled": True, "output": {}})
    skipped = step("skipped", compensation=value("un-s"), skip_if="true")
    handled = run(process(step("kept", compensation=undo), {**STOP, "on_error": "continue"}))
    assert (handled.status, handled.compensation) == (RunStatus.SUCCEEDED, None)
    nothing = run(process(mocked, skipped, STOP))
    assert (nothing.status, nothing.compensation) == (RunStatus.FAILED, None)


def test_cancelled_run_is_undone_and_ends_cancelled() -> None:
    waiting = run(process(with_undo("reserve"), step("pause", "delay", config={"seconds": "3600"})))
    assert waiting.status == RunStatus.WAITING
    cancel_run(waiting.pk, actor=SYSTEM)
    done = work(waiting)
    assert done.status == RunStatus.CANCELLED
    assert undone(done) == ["reserve/un-reserve"]
    assert done.compensation["status"] == "done"
    with pytest.raises(RunNotControllable, match="undone"):
        resume_run(done.pk, actor=SYSTEM)


def test_failed_compensation_lists_the_rest_and_goes_on_when_retried() -> None:
    undone_type = f"com.acme.undone-{uuid7().hex}.v1"
    contract = create_contract(undone_type, schema={"type": "object", "required": ["why"]}, actor=SYSTEM)
    fix = step("fix", "publish", config={"event": undone_type, "data": {"n": "1"}})

    done = run(process(with_undo("a"), value("b", {"compensation": fix}), with_undo("c"), STOP))
    assert done.status == RunStatus.FAILED
    assert done.compensation["status"] == "failed"
    assert done.compensation["remaining"] == ["b", "a"]
    assert done.compensation["problem"]["code"] == "engine.run.compensation_failed"
    assert undone(done) == ["c/un-c", "b/fix"]
    with pytest.raises(PermissionDenied):
        retry_compensation(done.pk, actor=Actor("user", None, "Vi", frozenset({"run:view"})))
    # The cause is removed: the type asks for less from now on.
    publish_contract_version(contract.pk, schema={"type": "object"}, accept_breaking=True, actor=SYSTEM)
    retry_compensation(done.pk, actor=SYSTEM)
    again = work(done)
    assert (again.status, again.compensation["status"], again.compensation["remaining"]) == ("failed", "done", [])
    attempts = StepResult.objects.filter(run=again, path__startswith="compensate/").values_list("path", "attempt")
    assert sorted(attempts) == [
        ("compensate/a/un-a", 1), ("compensate/b/fix", 1), ("compensate/b/fix", 2), ("compensate/c/un-c", 1),
    ]  # fmt: skip
    with pytest.raises(RunNotControllable):
        cancel_run(again.pk, actor=SYSTEM)


def test_undoing_can_wait_and_be_stopped_by_an_operator() -> None:
    undo = [step("pause", "delay", config={"seconds": "3600"}), value("after")]
    waiting = run(process(with_undo("a"), step("b", compensation=undo), STOP))
    assert (waiting.status, waiting.compensation["status"]) == (RunStatus.WAITING, "running")
    assert waiting.compensation["remaining"] == ["b", "a"]
    cancel_run(waiting.pk, actor=SYSTEM)
    done = work(waiting)
    assert (done.status, done.compensation["status"]) == (RunStatus.FAILED, "failed")
    assert done.compensation["remaining"] == ["b", "a"]
    retry_compensation(done.pk, actor=SYSTEM)
    again = work(done)
    StepResult.objects.filter(run=again, status=StepStatus.PARKED).update(due_at=Now() - timedelta(seconds=1))
    assert work(again).compensation["status"] == "done"
    assert undone(again)[-1] == "a/un-a"


def test_lost_worker_leaves_the_undoing_to_the_next_one() -> None:
    transform = step_types.get("process.transform")
    transform.inline = False
    try:
        started = work(start(process(with_undo("a"), with_undo("b"), STOP), {}))
        if started.status != RunStatus.FAILED:
            pytest.fail(started.status)
        # The same again, but the worker that undoes `b` never reports.
        other = start(process(with_undo("a"), with_undo("b"), STOP), {})
        for _ in range(3):
            claimed = advance(other.pk, claim_as="doomed")
            assert claimed is not None
            if claimed.step.path.startswith("compensate/"):
                break
            StepResult.objects.filter(pk=claimed.step.pk).update(
                status=StepStatus.SUCCEEDED, output={}, ended_at=Now(), lease_expires_at=None
            )
        assert claimed.step.path == "compensate/b/un-b"
        StepResult.objects.filter(pk=claimed.step.pk).update(lease_expires_at=Now() - timedelta(seconds=1))
        done = work(other)
    finally:
        transform.inline = True
    assert (done.status, done.compensation["status"]) == (RunStatus.FAILED, "done")
    assert StepResult.objects.get(run=done, path="compensate/b/un-b", latest=True).deliveries == 2
    assert undone(done) == ["b/un-b", "a/un-a"]


@pytest.mark.parametrize(
    ("definition", "code"),
    [
        (process(step("a", compensation=step("b", compensation=step("c")))), "integrations.compensation_nested"),
        (process(step("a", compensation=step("b"), cache={"key": "1", "ttl_s": 5})), "integrations.cache_not_undone"),
        (process(step("a", compensation=value("b", x="steps.z.output"))), "integrations.step_not_before"),
        (process(step("a", compensation=step("a"))), "integrations.step_twice"),
    ],
)
def test_faulty_compensation_is_found(definition: Any, code: str) -> None:
    problems = find_process_problems(ProcessDefinition.from_json(definition), "dev")
    assert code in {problem.code for problem in problems}


def test_definition_keeps_compensations_and_old_hashes() -> None:
    one = ProcessDefinition.from_json(process(step("a", compensation=step("b"))))
    many = ProcessDefinition.from_json(process(step("a", compensation=[step("b")])))
    none = ProcessDefinition.from_json(process(step("a")))
    assert one == many == ProcessDefinition.from_json(one.to_json())
    assert content_hash(one) != content_hash(none)


def test_rest_shows_and_retries_compensation(acme: Tenant, globex: Tenant, api_for: Callable[..., Any]) -> None:
    with tenant_context(acme):
        done = run(process(with_undo("a"), STOP))
    address = f"/api/v2/runs/{done.pk}"
    body = api_for(acme, roles=("viewer",)).get(address).json()["compensation"]
    assert (body["status"], body["cause"], body["steps"], body["remaining"]) == ("done", "failed", ["a"], [])
    assert api_for(acme, roles=("viewer",)).post(f"{address}/compensate").status_code == 403
    answer = api_for(acme, roles=("operator",)).post(f"{address}/compensate")
    assert (answer.status_code, answer.json()["code"]) == (409, "engine.run.nothing_to_undo")
    assert api_for(globex, roles=("operator",)).post(f"{address}/compensate").status_code == 404
