"""Random small processes against a model of a few lines: statuses, results and the paths that were taken must agree."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from apps.core.exceptions import TransientError
from apps.engine.choices import ENDED_RUN_STATUSES
from apps.engine.contracts import StepContext, StepOutcome
from apps.engine.models import Run, StepResult
from apps.engine.registries import step_types
from apps.engine.services.executing import work_on_run
from apps.engine.services.sweeping import sweep_tenant
from apps.tenancy.models import Tenant
from tests.engine.process_factories import process, start, step, value

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "10"))


class Raised(Exception):
    """The model's error."""


# -- the model ---------------------------------------------------------------------------------------------------


class Model:
    """What a process does, as one walk over the definition: {path: status}, and the value of every step."""

    def __init__(self, definition: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        self.given = given
        self.statuses: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        try:
            self.result = self.sequence(definition["steps"], "", None)
            self.status = "succeeded"
        except Raised as error:
            self.result, self.status = None, "failed"
            self.code = str(error)

    def sequence(self, steps: Any, prefix: str, item: Any) -> Any:
        left: Any = {}
        for one in steps:
            path = prefix + one["id"]
            try:
                left = self.step(one, path, item)
            except Raised as error:
                if one.get("on_error") != "continue":
                    raise
                left = {"error": str(error)}
        return left

    def step(self, one: Any, path: str, item: Any) -> Any:
        config = one["config"]
        if one["kind"] == "raise":
            self.statuses[path] = "failed"
            raise Raised(config["code"])
        if one["kind"] == "read":
            fails = int(one["notes"])
            most = one["retry"]["max_attempts"]
            self.attempts[path] = min(fails + 1, most)
            self.statuses[path] = "failed" if fails >= most else "succeeded"
            if fails >= most:
                raise Raised("test.passing")
            return {"count": 0}
        self.statuses[path] = "succeeded"
        if one["kind"] == "transform":
            return {"n": self.given["n"] + (item or 0)}
        inner = {"branch": self.branch, "parallel": self.parallel, "foreach": self.foreach}[one["kind"]]
        left = inner(config, path, item)
        self.statuses[f"{path}.end"] = "succeeded"
        return left

    def branch(self, config: Any, path: str, item: Any) -> Any:
        for case in config["cases"]:
            if self.given["n"] > int(case["when"].rpartition(">")[2]):
                return {case["name"]: self.sequence(case["steps"], f"{path}:{case['name']}/", item)}
        return {"default": self.sequence(config["default"], f"{path}:default/", item)}

    def parallel(self, config: Any, path: str, item: Any) -> Any:
        values, errors = {}, []
        for one in config["branches"]:
            try:
                values[one["name"]] = self.sequence(one["steps"], f"{path}:{one['name']}/", item)
            except Raised as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return values

    def foreach(self, config: Any, path: str, item: Any) -> Any:
        del item
        results = []
        for index in range(len(json.loads(config["items"]))):
            try:
                results.append(self.sequence(config["steps"], f"{path}[{index}]/", index))
            except Raised:
                if config["on_item_error"] == "fail":
                    raise
                results.append(None)
        return results


# -- random definitions ------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.just({"kind": "transform"}),
    st.fixed_dictionaries({"kind": st.just("raise"), "on_error": st.sampled_from(["fail", "continue", "continue"])}),
    st.fixed_dictionaries(
        {
            "kind": st.just("read"),
            "fails": st.integers(0, 3),
            "most": st.integers(1, 3),
            "on_error": st.sampled_from(["fail", "continue"]),
        }
    ),
)


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Steps with steps inside."""
    some = st.lists(inner, min_size=1, max_size=3)
    handled = st.sampled_from(["fail", "continue"])
    return st.one_of(
        st.fixed_dictionaries({
            "kind": st.just("branch"), "over": st.integers(0, 10), "yes": some, "no": some, "on_error": handled,
        }),
        # Which branch fails first is the workers' race, so an error leaves a parallel only if it is alone in it.
        st.fixed_dictionaries({"kind": st.just("parallel"), "branches": st.lists(some, min_size=1, max_size=3)}),
        st.fixed_dictionaries({
            "kind": st.just("foreach"), "count": st.integers(0, 3), "steps": some,
            "wide": st.integers(1, 2), "on_item_error": st.just("collect"), "on_error": handled,
        }),
    )  # fmt: skip


TREES = st.lists(st.recursive(LEAVES, around, max_leaves=6), min_size=1, max_size=4)


class Builder:
    """A definition from a random tree; ids are unique in it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def steps(self, trees: Any, *, looping: bool) -> list[Any]:
        return [self.step(tree, looping=looping) for tree in trees]

    def step(self, tree: Any, *, looping: bool) -> Any:
        id_ = f"s{next(self._numbers)}"
        envelope = {"on_error": tree["on_error"]} if "on_error" in tree else {}
        kind = tree["kind"]
        if kind == "transform":
            return value(id_, n="input.n + item" if looping else "input.n")
        if kind == "raise":
            return step(id_, "raise", config={"code": f"test.{id_}", "message": "'no'"}, **envelope)
        if kind == "read":
            retry = {"max_attempts": tree["most"], "base_s": 0, "cap_s": 0, "jitter": 0}
            config = {"connection": "warehouse", "entity": "x"}
            return step(id_, "read", config=config, retry=retry, notes=str(tree["fails"]), **envelope)
        if kind == "branch":
            cases = [
                {"name": "yes", "when": f"input.n > {tree['over']}", "steps": self.steps(tree["yes"], looping=looping)}
            ]
            config = {"cases": cases, "default": self.steps(tree["no"], looping=looping)}
        elif kind == "parallel":
            branches = [
                {"name": f"b{number}", "steps": [self.safe(one, looping=looping) for one in trees]}
                for number, trees in enumerate(tree["branches"])
            ]
            config = {"branches": branches}
        else:
            config = {
                "items": json.dumps(list(range(tree["count"]))),
                "concurrency": tree["wide"],
                "on_item_error": tree["on_item_error"],
                "steps": self.steps(tree["steps"], looping=True),
            }
        return step(id_, kind, config=config, **envelope)

    def safe(self, tree: Any, *, looping: bool) -> Any:
        """Inside a parallel every error is handled where it is raised."""
        made = self.step(tree, looping=looping)
        return {**made, "on_error": "continue"}


# -- the machine -------------------------------------------------------------------------------------------------


class ProcessMachine(RuleBasedStateMachine):
    """Starts runs, works on them in any order, in several visits, and compares each ended one with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[UUID, Model] = {}
        self.runs: dict[UUID, Run] = {}
        self.compared: set[UUID] = set()
        self.chance = random.Random(0)

    @initialize(seed=st.integers(0, 2**16))
    def shuffle(self, seed: int) -> None:
        self.chance = random.Random(seed)

    @rule(trees=TREES, n=st.integers(0, 10))
    def begin(self, trees: Any, n: int) -> None:
        if len(self.runs) >= 4:
            return
        definition = process(*Builder().steps(trees, looping=False))
        with transaction.atomic():
            started = start(definition, {"n": n})
        self.models[started.pk] = Model(definition, {"n": n})
        self.runs[started.pk] = started

    @rule(quick=st.booleans())
    def visit(self, quick: bool) -> None:
        for run_id in self.chance.sample(sorted(self.runs), k=min(1, len(self.runs))):
            work_on_run(run_id, quick_only=quick)

    @rule()
    def sweep(self) -> None:
        sweep_tenant()

    @invariant()
    def ended_runs_agree_with_the_model(self) -> None:
        ended = Run.objects.filter(pk__in=set(self.runs) - self.compared, status__in=ENDED_RUN_STATUSES)
        for run_ in ended:
            self.compare(run_)

    def compare(self, run_: Run) -> None:
        model = self.models[run_.pk]
        assert run_.status == model.status, (run_.error, run_.definition)
        if model.status == "failed":
            assert run_.error["code"] == model.code
        latest = StepResult.objects.filter(run=run_, latest=True)
        found = {one.path: one.status for one in latest}
        assert found == model.statuses, run_.definition
        assert {one.path: one.attempt for one in latest if one.path in model.attempts} == model.attempts
        for one in latest:
            if one.kind == "process.transform":
                index = one.path.rpartition("[")[2].partition("]")[0]
                added = int(index) if "[" in one.path else 0
                assert one.output == {"n": run_.parameters["n"] + added}
        self.compared.add(run_.pk)

    def teardown(self) -> None:
        for run_id in self.runs:
            for _ in range(200):
                work_on_run(run_id)
                if Run.objects.filter(pk=run_id, status__in=ENDED_RUN_STATUSES).exists():
                    break
        self.ended_runs_agree_with_the_model()
        assert self.compared == set(self.runs), "every run has ended"


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> None:
    """The read step fails as often as its notes say."""

    class Passing(TransientError):
        """It works the next time."""

        code = "test.passing"

    def act(self: Any, context: StepContext, step: Any, scope: Any) -> StepOutcome:
        if context.attempt <= int(step.notes):
            raise Passing()
        return StepOutcome(output={"rows": [], "count": 0})

    monkeypatch.setattr(type(step_types.get("process.read")), "run", act)


def play(examples: int) -> None:
    """So many sequences of starts, visits and sweeps, the same ones each time."""
    run_state_machine_as_test(
        ProcessMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=8,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # the definition is in the message; shrinking would take minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_processes_do_what_the_model_does(as_acme: Tenant, flaky: None) -> None:
    play(EXAMPLES)


@pytest.mark.parametrize("wrong", ["statuses", "attempts", "code"])
def test_machine_notices_a_wrong_model(
    as_acme: Tenant, flaky: None, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Planted: a model that forgets the joins, the retries, or which error it was."""
    plain = Model.__init__

    def forgetful(self: Model, *given: Any) -> None:
        plain(self, *given)
        if wrong == "statuses":
            self.statuses = {path: status for path, status in self.statuses.items() if not path.endswith(".end")}
        elif wrong == "attempts":
            self.attempts = dict.fromkeys(self.attempts, 1)
        elif self.status == "failed":
            self.code = "test.other"

    monkeypatch.setattr(Model, "__init__", forgetful)
    with pytest.raises(AssertionError):
        play(15)
