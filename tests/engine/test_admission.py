"""Limits per tenant, flow and connection, and the sweeper that never forgets a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db.models.functions import Now

from apps.engine.choices import RunStatus, StepStatus
from apps.engine.contracts import StepSpec
from apps.engine.exceptions import TenantBusy
from apps.engine.models import Run, StepResult
from apps.engine.services.advancing import advance
from apps.engine.services.executing import work_on_run
from apps.engine.services.limits import engine_limits
from apps.engine.services.sweeping import KEPT_FOR_RESUME, collect_garbage_of_tenant, sweep_everywhere, sweep_tenant
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import ToyProgram, ToyStep, make_flow, make_run


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Doorbell messages that would leave this process after commit."""
    from celery import current_app

    sent: list[tuple[str, list[str]]] = []
    for name in ("engine.advance", "engine.execute_step"):
        task = current_app.tasks[name]
        monkeypatch.setattr(
            task, "apply_for", lambda _tenant, args=None, _name=name, **_options: sent.append((_name, args))
        )
    return sent


def test_run_waits_while_the_tenant_is_at_its_limit(toy_program: ToyProgram, toy_step: ToyStep, settings: Any) -> None:
    settings.ENGINE = {"tenant_runs": 1}
    first, second = make_run(), make_run()
    assert (first.status, second.status) == (RunStatus.RUNNING, RunStatus.QUEUED)
    assert "at most 1" in second.queue_reason
    work_on_run(first.pk)
    advance(second.pk)
    second.refresh_from_db()
    assert (second.status, second.queue_reason) == (RunStatus.RUNNING, "")


def test_parallel_runs_of_a_flow_wait_for_each_other(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    flow = make_flow()
    make_run(flow, exclusive=False)
    second = make_run(flow, exclusive=False)
    assert second.status == RunStatus.QUEUED


def test_queue_has_an_end(toy_program: ToyProgram, toy_step: ToyStep, settings: Any) -> None:
    settings.ENGINE = {"tenant_runs": 0, "tenant_queue": 2}
    make_run()
    make_run()
    with pytest.raises(TenantBusy):
        make_run()


def test_connection_takes_so_many_steps_and_no_more(toy_program: ToyProgram, toy_step: ToyStep, settings: Any) -> None:
    settings.ENGINE = {"connection_steps": 2}
    used = uuid4()
    toy_program.specs = lambda _o: [StepSpec(f"p[{n}]", "toy.step", f"P{n}", connections=(used,)) for n in range(4)]
    one, other = make_run(), make_run()
    assert advance(one.pk, claim_as="a") is not None
    assert advance(other.pk, claim_as="b") is not None
    assert advance(one.pk, claim_as="c") is None
    StepResult.objects.filter(run=one, status=StepStatus.RUNNING).update(lease_expires_at=Now() - timedelta(seconds=1))
    # A dead worker's step does not hold its place.
    assert advance(one.pk, claim_as="d") is not None


def test_finished_run_rings_the_waiting_ones(
    toy_program: ToyProgram,
    toy_step: ToyStep,
    settings: Any,
    rung: list[tuple[str, list[str]]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    settings.ENGINE = {"tenant_runs": 1}
    with django_capture_on_commit_callbacks(execute=True):
        first, second = make_run(), make_run()
        rung.clear()
    with django_capture_on_commit_callbacks(execute=True):
        work_on_run(first.pk)
    assert ("engine.advance", [str(second.pk)]) in rung


def test_doorbell_rings_a_step_once(
    toy_program: ToyProgram,
    toy_step: ToyStep,
    rung: list[tuple[str, list[str]]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = make_run()
        for _ in range(4):
            advance(run.pk)
    assert [name for name, _ in rung].count("engine.execute_step") == 1


def test_sweeper_rings_for_a_run_whose_moment_has_come(
    toy_program: ToyProgram,
    toy_step: ToyStep,
    rung: list[tuple[str, list[str]]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    run = make_run()
    assert sweep_tenant() == 0  # somebody was just called
    Run.objects.filter(pk=run.pk).update(wake_at=Now() - timedelta(seconds=1))
    with django_capture_on_commit_callbacks(execute=True):
        assert sweep_tenant() == 1
        assert sweep_tenant() == 0
    assert rung[-1] == ("engine.advance", [str(run.pk)])


def test_sweeper_visits_every_tenant(toy_program: ToyProgram, toy_step: ToyStep, globex: Tenant) -> None:
    with tenant_context(globex):
        run = make_run()
        Run.objects.filter(pk=run.pk).update(wake_at=Now() - timedelta(seconds=1))
    assert sweep_everywhere() == 1


def test_ended_runs_are_never_swept(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    work_on_run(run.pk)
    Run.objects.filter(pk=run.pk).update(wake_at=Now() - timedelta(days=1))
    assert sweep_tenant() == 0


def test_garbage_is_collected_a_day_after_a_failure(toy_program: ToyProgram, toy_step: ToyStep) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(status=RunStatus.FAILED, ended_at=Now())
    assert collect_garbage_of_tenant() == 0
    Run.objects.filter(pk=run.pk).update(ended_at=Now() - KEPT_FOR_RESUME - timedelta(minutes=1))
    assert collect_garbage_of_tenant() == 1
    assert collect_garbage_of_tenant() == 0
    assert toy_program.abandoned == [run.pk]


def test_unknown_limit_is_refused(settings: Any) -> None:
    settings.ENGINE = {"leese_s": 3}
    with pytest.raises(ValueError, match="leese_s"):
        engine_limits()
