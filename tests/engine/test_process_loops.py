"""Parallel branches, loops, and resuming inside them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from apps.engine.choices import RunStatus
from apps.engine.contracts import StepContext, StepOutcome
from apps.engine.models import StepResult
from apps.engine.registries import step_types
from apps.engine.services.controlling import resume_run
from apps.engine.services.executing import work_on_run
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import outputs, process, run, start, statuses, step, value, work

pytestmark = pytest.mark.usefixtures("as_acme")


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Makes the read step do what the test says for its path."""
    from apps.core.exceptions import TerminalError

    state: dict[str, Any] = {"fail": set(), "calls": []}

    def act(self: Any, context: StepContext, step: Any, scope: Any) -> StepOutcome:
        state["calls"].append(context.path)
        if context.path in state["fail"]:
            raise TerminalError(f"{context.path} is broken.")
        return StepOutcome(output={"rows": [], "count": 0})

    monkeypatch.setattr(type(step_types.get("process.read")), "run", act)
    return state


def reading(id_: str = "read", **envelope: Any) -> Any:
    return step(id_, "read", config={"connection": "warehouse", "entity": "x"}, **envelope)


def parallel(join: Any, *bodies: Any, **envelope: Any) -> Any:
    branches = [{"name": f"b{i}", "steps": list(body)} for i, body in enumerate(bodies)]
    return step("par", "parallel", config={"join": join, "branches": branches}, **envelope)


def stop(id_: str) -> Any:
    return step(id_, "raise", config={"message": f"'{id_} stops'"})


def test_all_branches_are_joined() -> None:
    done = run(process(parallel("all", [value("a", n="1")], [value("b", n="2"), value("c", n="3")])))
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert outputs(done)["par.end"] == {"branches": {"b0": {"n": 1}, "b1": {"n": 3}}}


def test_any_branch_is_enough_and_the_others_are_cancelled(remote: dict[str, Any]) -> None:
    started = start(process(parallel("any", [reading()], [value("a", n="1")]), value("after")))
    work(started)
    assert started.status == RunStatus.SUCCEEDED
    assert statuses(started)["par:b0/read"] == "cancelled"
    assert remote["calls"] == []
    assert outputs(started)["par.end"] == {"branches": {"b1": {"n": 1}}}


def test_n_of_m_outlives_some_failures() -> None:
    done = run(process(parallel(2, [stop("x")], [value("a", n="1")], [value("b", n="2")])))
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert set(outputs(done)["par.end"]["branches"]) == {"b1", "b2"}
    failed = run(process(parallel(2, [stop("x")], [stop("y")], [value("b", n="2")])))
    assert failed.status == RunStatus.FAILED
    assert failed.error["failed"] == ["par:b0/x", "par:b1/y"]


def foreach(*body: Any, items: str = "input.items", **config: Any) -> Any:
    return step("loop", "foreach", config={"items": items, "steps": list(body), **config})


def test_items_are_taken_in_order_with_results() -> None:
    done = run(
        process(
            foreach(value("a", n="item.n * 10"), value("b", n="steps.a.output.n + index")),
            output={"total": "list_sum([r.n for r in steps.loop.output.results])"},
        ),
        {"items": [{"n": 1}, {"n": 2}, {"n": 3}]},
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert done.result == {"total": 63}
    paths = list(StepResult.objects.filter(run=done).order_by("position").values_list("path", flat=True))
    assert paths[:3] == ["loop", "loop[0]/a", "loop[0]/b"]
    assert "loop[2]/b" in paths


def test_items_side_by_side_are_bounded(remote: dict[str, Any]) -> None:
    started = start(process(foreach(reading(), concurrency=3)), {"items": list(range(8))})
    with override_settings(ENGINE={"inline_steps": 1}):
        from apps.engine.services.advancing import advance

        advance(started.pk, claim_as="w")
    live = [path for path, status in statuses(started).items() if status in ("ready", "running")]
    assert sorted(live) == ["loop[0]/read", "loop[1]/read", "loop[2]/read"]


def test_failed_items_are_collected() -> None:
    bad = [{"name": "bad", "when": "item < 0", "steps": [stop("stop")]}]
    done = run(
        process(foreach(step("check", "branch", config={"cases": bad}), value("n", n="item"), on_item_error="collect")),
        {"items": [1, -1, 2]},
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    end = outputs(done)["loop.end"]
    assert end["failed"] == 1
    assert end["errors"] == [{"index": 1, "code": "process.raised", "message": "stop stops"}]
    assert end["results"] == [{"n": 1}, None, {"n": 2}]


def test_while_carries_its_state() -> None:
    config = {
        "state": {"n": "1", "sum": "0"},
        "condition": "state.n <= 4",
        "steps": [value("add", sum="state.sum + state.n")],
        "next": {"n": "state.n + 1", "sum": "steps.add.output.sum"},
    }
    done = run(process(step("loop", "while", config=config), output={"sum": "steps.loop.output.state.sum"}))
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert done.result == {"sum": 10}
    assert outputs(done)["loop.end"]["iterations"] == 4


def test_endless_while_is_stopped() -> None:
    done = run(process(step("loop", "while", config={"condition": "true", "steps": [value("x")], "max_iterations": 5})))
    assert done.status == RunStatus.FAILED
    assert done.error["code"] == "engine.process.loop_too_long"


def test_resume_continues_inside_the_loop(remote: dict[str, Any]) -> None:
    remote["fail"] = {"loop[2]/check:yes/read"}
    cases = [{"name": "yes", "when": "true", "steps": [reading(), value("after", n="item")]}]
    started = work(
        start(process(foreach(step("check", "branch", config={"cases": cases}))), {"items": [10, 20, 30, 40]})
    )
    assert started.status == RunStatus.FAILED
    assert started.error["step"] == "loop[2]/check:yes/read"
    done_before = list(remote["calls"])
    remote["fail"] = set()
    resume_run(started.pk, actor=SYSTEM)
    assert work(started).status == RunStatus.SUCCEEDED
    assert remote["calls"][len(done_before) :] == ["loop[2]/check:yes/read", "loop[3]/check:yes/read"]
    assert StepResult.objects.get(run=started, path="loop[2]/check:yes/read", latest=True).attempt == 2


def test_resume_repeats_what_a_failing_neighbour_cut_short(remote: dict[str, Any]) -> None:
    remote["fail"] = {"par:b1/two"}
    started = start(process(parallel("all", [reading("one"), value("c")], [reading("two")])))
    work(started)
    assert started.status == RunStatus.FAILED
    remote["fail"] = set()
    resume_run(started.pk, actor=SYSTEM)
    assert work(started).status == RunStatus.SUCCEEDED
    assert statuses(started)["par:b0/c"] == "succeeded"


def test_long_loop_takes_several_visits_and_every_step_is_there() -> None:
    started = start(process(foreach(value("a", n="item"), max_items=1000)), {"items": list(range(500))})
    with override_settings(ENGINE={"inline_steps": 150}):
        while started.status == RunStatus.RUNNING:
            work_on_run(started.pk)
            started.refresh_from_db()
    assert started.status == RunStatus.SUCCEEDED
    assert StepResult.objects.filter(run=started).count() == 502
