"""Steps with dependencies: what begins when, what may be named, what an error ends, and what cannot work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.engine.choices import RunStatus
from apps.engine.models import StepResult
from apps.engine.services.controlling import cancel_run, resume_run
from apps.integrations.services.validation import validate_definition
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import outputs, process, run, start, statuses, step, value, work

pytestmark = pytest.mark.usefixtures("as_acme")


def node(id_: str, *dependencies: str, **values: str) -> Any:
    """A transform that depends on these steps."""
    return value(id_, {"dependencies": list(dependencies)}, **values)


def problems(definition: Any) -> dict[str, str]:
    return {problem.path: problem.code for problem in validate_definition(definition).problems}


def test_the_order_is_that_of_the_dependencies_not_of_the_list() -> None:
    done = run(
        process(
            node("sum", "left", "right", n="steps.left.output.n + steps.right.output.n"),
            node("right", "base", n="steps.base.output.n * 10"),
            node("left", "base", n="steps.base.output.n + 1"),
            node("base", n="input.n"),
            output={"n": "steps.sum.output.n"},
        ),
        {"n": 2},
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert done.result == {"n": 23}


def test_a_shape_that_no_nesting_of_sequences_has() -> None:
    """c waits for a and b, d only for b: d must not wait for a."""
    waiting = step("a", "delay", config={"seconds": "60"}, dependencies=[])
    started = run(process(waiting, node("b", n="1"), node("c", "a", "b", n="2"), node("d", "b", n="3")))
    assert started.status == RunStatus.WAITING
    assert statuses(started) == {"a": "parked", "b": "succeeded", "d": "succeeded"}
    StepResult.objects.filter(run=started).update(due_at=Now() - timedelta(seconds=1))
    done = work(started)
    assert done.status == RunStatus.SUCCEEDED
    assert statuses(done)["c"] == "succeeded"


def test_an_unhandled_error_ends_the_others_and_a_resume_goes_on() -> None:
    waiting = step("slow", "delay", config={"seconds": "60"}, dependencies=[])
    broken = value("broken", {"dependencies": ["first"]}, n="input.n / 0")
    failed = run(process(node("first", n="1"), waiting, broken, node("last", "broken", "slow", n="1")), {"n": 1})
    assert failed.status == RunStatus.FAILED
    assert failed.error["step"] == "broken"
    assert statuses(failed) == {"first": "succeeded", "slow": "cancelled", "broken": "failed"}
    resume_run(failed.pk, actor=SYSTEM)
    again = work(failed)
    assert again.error["step"] == "broken"
    assert StepResult.objects.filter(run=failed, path="first").count() == 1, "what was done is not done again"


def test_an_error_route_lets_dependants_begin() -> None:
    broken = value(
        "broken",
        {"dependencies": [], "on_error": "route", "error_steps": [value("tell", text="error.code")]},
        n="input.n / 0",
    )
    done = run(process(broken, node("after", "broken", failed="steps.broken.error.code is not null")), {"n": 1})
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert outputs(done)["after"] == {"failed": True}


def test_graphs_inside_loops_and_branches() -> None:
    body = [node("twice", "one", n="steps.one.output.n * 2"), node("one", n="item")]
    done = run(
        process(
            step("each", "foreach", config={"items": "[1, 2, 3]", "steps": body, "concurrency": 3}),
            output={"results": "[r.n for r in steps.each.output.results]"},
        )
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert [outputs(done)[f"each[{i}]/twice"] for i in range(3)] == [{"n": 2}, {"n": 4}, {"n": 6}]


def test_compensation_undoes_a_graph_in_the_reverse_of_what_happened() -> None:
    undone = [value(f"undo_{name}", n="1") for name in ("a", "b")]
    definition = process(
        value("b", {"dependencies": ["a"], "compensation": [undone[1]]}, n="1"),
        value("a", {"dependencies": [], "compensation": [undone[0]]}, n="1"),
        step("wait", "delay", config={"seconds": "60"}, dependencies=["b"]),
    )
    started = run(definition)
    cancel_run(started.pk, actor=SYSTEM)
    work(started)
    undoing = StepResult.objects.filter(run=started, path__startswith="compensate/").order_by("ended_at", "position")
    assert [row.path for row in undoing] == ["compensate/b/undo_b", "compensate/a/undo_a"]


@pytest.mark.parametrize(
    ("steps", "path", "code"),
    [
        pytest.param([node("a", "nobody", n="1")], "steps[0].dependencies[0]", "dependency_unknown", id="unknown"),
        pytest.param([node("a", "a", n="1")], "steps[0].dependencies", "dependency_cycle", id="itself"),
        pytest.param(
            [node("a", "b", n="1"), node("b", "c", n="1"), node("c", "a", n="1")],
            "steps[1].dependencies",
            "dependency_cycle",
            id="in a circle",
        ),
        pytest.param(
            [node("a", n="1"), node("b", n="steps.a.output.n")],
            "steps[1].config.values.n",
            "name_unknown",
            id="names a step beside it",
        ),
    ],
)
def test_what_cannot_work_is_found_in_the_draft(steps: list[Any], path: str, code: str) -> None:
    found = problems(process(*steps))
    assert found.get(path, "").endswith(code) or (code == "name_unknown" and path in found), found


def test_a_circle_that_is_started_all_the_same_fails_and_says_which() -> None:
    failed = work(start(process(node("begin", n="1"), node("a", "b", n="1"), node("b", "a", n="1"))))
    assert failed.status == RunStatus.FAILED
    assert failed.error["code"] == "engine.process.dependencies_unmet"
    assert "a, b" in failed.error["message"]
