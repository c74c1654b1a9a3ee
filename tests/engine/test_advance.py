"""The durable core with a toy program: claims, fencing, leases, retries, poison, cancellation, pinning."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models.functions import Now

from apps.core.exceptions import TerminalError, TransientError
from apps.engine.choices import RunStatus, StepStatus
from apps.engine.contracts import StepContext, StepOutcome, StepSpec
from apps.engine.exceptions import LeaseLost, RunAlreadyActive, RunNotControllable
from apps.engine.models import Run, RunLog, StepResult
from apps.engine.services.advancing import advance
from apps.engine.services.controlling import cancel_run, resume_run
from apps.engine.services.executing import work_on_run
from apps.engine.services.sweeping import release_run
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import FAST_RETRY, SYSTEM, ToyProgram, ToyStep, make_flow, make_run
from tests.engine.systems import execute


def expire_leases(run: Run) -> None:
    StepResult.objects.filter(run=run, status=StepStatus.RUNNING).update(lease_expires_at=Now() - timedelta(seconds=1))


def make_due(run: Run) -> None:
    StepResult.objects.filter(run=run).update(due_at=Now() - timedelta(seconds=1))


def statuses(run: Run) -> dict[str, str]:
    return dict(StepResult.objects.filter(run=run, latest=True).values_list("path", "status"))


def fail_with(error: Exception) -> Any:
    def act(_context: StepContext) -> StepOutcome:
        raise error

    return act


def test_run_goes_through_its_steps_in_order(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    assert run.status == RunStatus.RUNNING
    assert work_on_run(run.pk) == 2
    run.refresh_from_db()
    assert run.status == RunStatus.SUCCEEDED
    assert [path for path, _ in toy_step.executed] == ["a", "b"]
    assert run.wake_at is None
    assert run.ended_at is not None
    assert toy_program.ended_runs == [(run.pk, True)]


def test_plan_grows_with_outputs(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    def specs(outputs: Any) -> list[StepSpec]:
        parts = [
            StepSpec(f"part[{i}]", "toy.step", f"Part {i}", depends_on=("a",))
            for i in range(outputs.get("a", {}).get("n", 0))
        ]
        last = tuple(p.path for p in parts) or ("a",)
        return [StepSpec("a", "toy.step", "A"), *parts, StepSpec("z", "toy.step", "Z", depends_on=last)]

    toy_program.specs = specs
    toy_step.actions["a"] = lambda _c: StepOutcome(output={"n": 3})
    run = make_run()
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.SUCCEEDED
    assert [path for path, _ in toy_step.executed] == ["a", "part[0]", "part[1]", "part[2]", "z"]


def test_second_claim_of_a_step_gets_nothing(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    first = advance(run.pk, claim_as="one")
    assert first is not None
    assert advance(run.pk, claim_as="two") is None
    step = StepResult.objects.get(run=run, path="a")
    assert (step.lease_owner, step.lease_epoch, step.deliveries) == ("one", 1, 1)


def test_advance_is_idempotent(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    before = statuses(run)
    for _ in range(5):
        advance(run.pk)
    assert statuses(run) == before == {"a": StepStatus.READY, "b": StepStatus.WAITING}
    assert StepResult.objects.filter(run=run).count() == 2


def test_expired_lease_gives_the_step_to_another_worker_and_fences_the_first(
    toy_program: ToyProgram, toy_step: ToyStep
) -> None:
    run = make_run()

    def pause_past_the_lease(context: StepContext) -> StepOutcome:
        if len(toy_step.executed) == 1:
            expire_leases(run)
            assert work_on_run(run.pk) == 2  # somebody else does it all
            with pytest.raises(LeaseLost):
                context.tick(force=True)
            with pytest.raises(LeaseLost):
                context.ensure_owner()
        return StepOutcome(output={"by": len(toy_step.executed)})

    toy_step.actions["a"] = pause_past_the_lease
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.SUCCEEDED
    step = StepResult.objects.get(run=run, path="a")
    # Executed twice, recorded once, by the one that owned it.
    assert toy_step.executed.count(("a", 1)) == 2
    assert step.deliveries == 2
    assert RunLog.objects.filter(run=run, message__contains="went silent").count() == 1


@pytest.mark.committed
@pytest.mark.parametrize("cut", ["before the record", "inside the step"])
def test_a_lost_session_is_not_the_steps_failure(
    toys: tuple[ToyProgram, ToyStep], committed_acme: Tenant, cut: str
) -> None:
    def lose(context: StepContext) -> StepOutcome:
        if len(toys[1].executed) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                execute("SELECT pg_terminate_backend(%s)", cursor.fetchone())
            if cut == "inside the step":
                context.tick(force=True)
        return StepOutcome(output={"by": len(toys[1].executed)})

    toys[1].actions["a"] = lose
    with tenant_context(committed_acme):
        run = make_run()
        work_on_run(run.pk)
        if cut == "inside the step":
            expire_leases(run)
            work_on_run(run.pk)
        run.refresh_from_db()
        step = StepResult.objects.get(run=run, path="a")
    assert (run.status, run.error) == (RunStatus.SUCCEEDED, None)
    assert (step.attempt, step.deliveries) == (1, 2 if cut == "inside the step" else 1)


def test_effect_commits_with_its_step_or_not_at_all(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    effects: list[str] = []

    def lose_then_commit(context: StepContext) -> StepOutcome:
        expire_leases(run)
        advance(run.pk)
        return StepOutcome(commit=lambda: effects.append("done"))

    toy_step.actions["a"] = lose_then_commit
    work_on_run(run.pk)
    assert effects == []


def test_poisoned_step_is_set_aside_after_three_deliveries(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    for _ in range(3):
        assert advance(run.pk, claim_as="doomed") is not None
        expire_leases(run)
    assert advance(run.pk, claim_as="next") is None
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED
    assert run.error["code"] == "engine.step.poisoned"
    assert run.error["remedy"]
    assert toy_program.ended_runs == [(run.pk, False)]


def test_transient_error_makes_a_new_attempt_that_waits(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    toy_program.specs = lambda _o: [StepSpec("a", "toy.step", "A", retry=FAST_RETRY)]
    run = make_run()

    def fail_twice(context: StepContext) -> StepOutcome:
        if context.attempt < 3:
            raise TransientError("The system is busy.")
        return StepOutcome()

    toy_step.actions["a"] = fail_twice
    for _ in range(3):
        work_on_run(run.pk)
        make_due(run)
    run.refresh_from_db()
    assert run.status == RunStatus.SUCCEEDED
    rows = list(StepResult.objects.filter(run=run).order_by("attempt").values_list("attempt", "status", "latest"))
    assert rows == [(1, "failed", False), (2, "failed", False), (3, "succeeded", True)]


def test_transient_error_ends_the_run_when_the_policy_says_so(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    toy_program.specs = lambda _o: [StepSpec("a", "toy.step", "A", retry=FAST_RETRY)]
    toy_step.actions["a"] = fail_with(TransientError("Still busy."))
    run = make_run()
    for _ in range(3):
        work_on_run(run.pk)
        make_due(run)
    run.refresh_from_db()
    assert (run.status, run.error["message"], run.error["step"]) == (RunStatus.FAILED, "Still busy.", "a")


def test_terminal_error_is_not_retried(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    toy_step.actions["a"] = fail_with(TerminalError("No such table.", remedy="Make it."))
    run = make_run()
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED
    assert run.error == {"code": "core.terminal", "message": "No such table.", "remedy": "Make it.", "step": "a"}
    assert statuses(run) == {"a": StepStatus.FAILED, "b": StepStatus.WAITING}


def test_unforeseen_fault_is_reported_with_a_code_and_no_traceback(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    toy_step.actions["a"] = fail_with(ZeroDivisionError("oops"))
    run = make_run()
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.error["code"] == "engine.step.unexpected"
    assert "ZeroDivisionError: oops" in run.error["message"]


def test_disk_full_has_its_own_code(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    toy_program.specs = lambda _o: [StepSpec("a", "toy.step", "A", retry=FAST_RETRY)]
    toy_step.actions["a"] = fail_with(OSError(28, "No space left on device"))
    run = make_run()
    work_on_run(run.pk)
    step = StepResult.objects.get(run=run, path="a", attempt=1)
    assert step.error["code"] == "engine.load.spill_full"


def test_failed_step_waits_for_running_siblings(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    toy_program.specs = lambda _o: [StepSpec("p[0]", "toy.step", "P0"), StepSpec("p[1]", "toy.step", "P1")]
    run = make_run()
    sibling = advance(run.pk, claim_as="other")
    assert sibling is not None
    toy_step.actions["p[1]"] = fail_with(TerminalError("broken"))
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.RUNNING
    expire_leases(run)
    StepResult.objects.filter(run=run, path="p[0]").update(deliveries=3)
    advance(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED


def test_changed_definition_stops_the_run(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(definition={"schema": "flow/1", "changed": True})
    assert advance(run.pk, claim_as="w") is None
    run.refresh_from_db()
    assert (run.status, run.error["code"]) == (RunStatus.FAILED, "engine.run.definition_mismatch")


def test_changed_step_stops_the_run(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    toy_program.specs = lambda _o: [StepSpec("a", "toy.step", "A", config={"other": 1})]
    advance(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error["code"]) == (RunStatus.FAILED, "engine.run.definition_mismatch")


def test_cancel_before_anything_runs(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = cancel_run(make_run().pk, actor=SYSTEM)
    assert run.status == RunStatus.CANCELLED
    assert set(statuses(run).values()) == {StepStatus.CANCELLED}
    assert work_on_run(run.pk) == 0


def test_cancel_is_noticed_at_the_next_report(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()

    def work(context: StepContext) -> StepOutcome:
        cancel_run(run.pk, actor=SYSTEM)
        context.tick(force=True)
        raise AssertionError("not reached")

    toy_step.actions["a"] = work
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    assert statuses(run) == {"a": StepStatus.CANCELLED, "b": StepStatus.CANCELLED}


def test_cancel_ends_when_the_silent_worker_s_lease_does(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    advance(run.pk, claim_as="silent")
    assert cancel_run(run.pk, actor=SYSTEM).status == RunStatus.CANCELLING
    assert cancel_run(run.pk, actor=SYSTEM).status == RunStatus.CANCELLING  # asking twice changes nothing
    expire_leases(run)
    advance(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED


def test_ended_run_cannot_be_cancelled(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    work_on_run(run.pk)
    with pytest.raises(RunNotControllable):
        cancel_run(run.pk, actor=SYSTEM)


def test_resume_keeps_what_is_done(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    toy_step.actions["b"] = fail_with(TerminalError("b fails"))
    run = make_run()
    work_on_run(run.pk)
    toy_step.actions.clear()
    resumed = resume_run(run.pk, actor=SYSTEM)
    assert (resumed.status, resumed.resumed, resumed.error) == (RunStatus.RUNNING, 1, None)
    work_on_run(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.SUCCEEDED
    assert toy_step.executed == [("a", 1), ("b", 1), ("b", 2)]


def test_resume_after_release_starts_from_the_beginning(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    toy_step.actions["b"] = fail_with(TerminalError("b fails"))
    run = make_run()
    work_on_run(run.pk)
    assert release_run(run.pk)
    assert not release_run(run.pk)
    assert toy_program.abandoned == [run.pk]
    toy_step.actions.clear()
    resume_run(run.pk, actor=SYSTEM)
    work_on_run(run.pk)
    assert toy_step.executed[-2:] == [("a", 2), ("b", 2)]


def test_one_active_run_per_flow_and_environment(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    flow = make_flow()
    first = make_run(flow)
    with pytest.raises(RunAlreadyActive) as caught:
        make_run(flow)
    assert caught.value.facts["run_id"] == str(first.pk)
    make_run(flow, environment="test")  # another environment is another place
    work_on_run(first.pk)
    make_run(flow)


def test_the_database_itself_refuses_a_second_outcome(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    with pytest.raises(IntegrityError):
        StepResult.objects.create(run=run, path="a", attempt=1, kind="toy.step", name="A", latest=False)


def test_log_numbers_have_no_gaps(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    def talk(context: StepContext) -> StepOutcome:
        for n in range(3):
            context.log("info", f"line {n}")
            context.tick(force=True)
        return StepOutcome()

    toy_step.actions["a"] = talk
    run = make_run()
    work_on_run(run.pk)
    seqs = list(RunLog.objects.filter(run=run).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= 5
