"""The walk through a process: from what has happened to what may happen next. Pure, and the same for everybody.

Paths: `post`, `check:approved/post` (inside a case or parallel branch), `loop[3]/post` (inside the fourth iteration),
`post:error/tell` (error route), `compensate/loop[3]/post/undo`
(what undoes that iteration's step). A step with steps inside opens at its own path and closes at `<path>.end`; a while
decides on its rounds at `<path>[i].check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.engine.contracts import ERROR_KEY, Outputs, RetryPolicy, Steering, StepSpec
from apps.integrations.process_contracts import DEFAULT_BRANCH, ERROR_BRANCH, ProcessDefinition, ProcessStep, is_graph

END = ".end"
CHECK = ".check"
FINAL_KEY = "$final"
"""In the output of a step with steps inside: it was skipped or mocked, nothing inside it is executed."""
OUTPUT_PATH = ".output"
"""Path of the step that computes the definition's `output`; no step's id begins with a dot."""

UNDO = "compensate/"
"""Beginning of the paths of compensations: after an id a path never goes on with `/`, so no step lives there."""

OPEN, DONE, RETURNED, ESCAPED = "open", "done", "returned", "escaped"


@dataclass(frozen=True)
class Walked:
    """Where a part of the process stands.

    Attributes:
        state: `open` (something is still to do), `done`, `returned` (a return step ended the flow), `escaped` (an error
            that nothing inside handles).
        value: what it leaves.
        error, failed: the error, and the paths of the failed steps behind it.
    """

    state: str
    value: Any = None
    error: Mapping[str, Any] | None = None
    failed: tuple[str, ...] = ()


STILL_OPEN = Walked(OPEN)


class Walker:
    """One walk. What is done is remembered in `outputs.memo`, so that a long loop is not walked from its start again.

    Args:
        definition: the process.
        outputs: what has happened.
        connection_of: id of the connection that a slot means, for the limit per connection.
        undo: paths of the completed steps to be undone, in that order; None while the run is not being undone.
    """

    def __init__(
        self,
        definition: ProcessDefinition,
        outputs: Outputs,
        connection_of: Any = None,
        undo: Sequence[str] | None = None,
    ) -> None:
        self.definition = definition
        self.outputs = outputs
        self.undo = undo
        self.connection_of = connection_of or (lambda _slot: None)
        self.specs: list[StepSpec] = []
        self.values: dict[str, Any] = outputs.memo.setdefault("values", {})
        self.errors: dict[str, Any] = outputs.memo.setdefault("errors", {})

    def steer(self) -> Steering:
        """The decision about the whole run."""
        if self.undo is not None:
            return self._undo(self.undo)
        return self._forward()

    def _forward(self) -> Steering:
        walked = self.sequence(self.definition.steps, "")
        if walked.state == DONE and self.definition.output:
            found = self.outputs.get(OUTPUT_PATH)
            if found is None:
                self.specs.append(
                    StepSpec(
                        OUTPUT_PATH, "process.output", "Result", retry=RetryPolicy(max_attempts=1), identity="output"
                    )
                )
                walked = STILL_OPEN
            elif ERROR_KEY in found:
                walked = Walked(ESCAPED, error=found[ERROR_KEY], failed=(OUTPUT_PATH,))
            else:
                walked = Walked(RETURNED, value=found)
        if walked.state == OPEN:
            return Steering(specs=self.specs)
        if walked.state == ESCAPED:
            return Steering(ended=False, error=walked.error, failed=walked.failed)
        result = walked.value if walked.state == RETURNED else {}
        return Steering(ended=True, result=shown(result or {}))

    def _undo(self, undo: Sequence[str]) -> Steering:
        """One completed step after the other; what fails keeps the rest from being undone."""
        self._forward()  # for the values and errors that compensations may name
        self.specs = []
        for number, path in enumerate(undo):
            step = self.definition.by_id[step_id_of(path)]
            walked = self.sequence(step.compensation, f"{UNDO}{path}/")
            remaining = tuple(undo[number:])
            if walked.state == ESCAPED:
                return Steering(ended=False, error=walked.error, failed=walked.failed, remaining=remaining)
            if walked.state == OPEN:
                return Steering(specs=self.specs, remaining=remaining)
        return Steering(ended=True)

    # -- sequences and steps -------------------------------------------------------------------------------------

    def sequence(self, steps: Sequence[ProcessStep], prefix: str) -> Walked:
        """Steps that follow each other, or a graph; the value of the last one is theirs."""
        if is_graph(steps):
            return self._graph(steps, prefix)
        walked = Walked(DONE, value={})
        for step in steps:
            walked = self.step(step, prefix + step.id)
            if walked.state != DONE:
                return walked
        return walked

    def _graph(self, steps: Sequence[ProcessStep], prefix: str) -> Walked:
        """Steps that begin when all they depend on has ended. An error that one does not handle ends the others."""
        ended: dict[str, Walked] = {}
        left = list(steps)
        planned = len(self.specs)
        while True:
            ready = [step for step in left if ended.keys() >= set(step.dependencies or ())]
            if not ready:
                break
            for step in ready:
                left.remove(step)
                walked = self.step(step, prefix + step.id)
                if walked.state in (RETURNED, ESCAPED):
                    del self.specs[planned:]
                    return walked
                if walked.state == DONE:
                    ended[step.id] = walked
        if len(ended) == len(steps):
            return ended[steps[-1].id]
        if len(self.specs) == planned:
            names = ", ".join(step.id for step in left)
            message = f"These steps wait for each other, or for a step that is not beside them: {names}."
            return Walked(ESCAPED, error={"code": "engine.process.dependencies_unmet", "message": message})
        return STILL_OPEN

    def step(self, step: ProcessStep, path: str) -> Walked:
        """One step with all inside it, and its error route."""
        if not step.bodies:
            return self._simple(step, path)
        closed = self.outputs.get(path + END)
        if closed is not None:
            if ERROR_KEY in closed:
                return self._failed(step, path, closed[ERROR_KEY], (path + END,))
            return Walked(DONE, value=shown(closed))
        opened = self.outputs.get(path)
        if opened is None:
            self._emit(step, path)
            return STILL_OPEN
        if ERROR_KEY in opened:
            return self._failed(step, path, opened[ERROR_KEY], (path,))
        if opened.get(FINAL_KEY):
            return Walked(DONE, value=shown(opened))
        inner = {
            "branch": self._branch,
            "parallel": self._parallel,
            "foreach": self._foreach,
            "while": self._while,
        }[step.kind](step, path, opened)
        if inner.state == ESCAPED:
            return self._failed(step, path, inner.error or {}, inner.failed)
        if inner.state != DONE:
            return inner
        self.values[path] = inner.value
        self._emit(step, path + END, kind="process.join", name=f"{step.title} (end)")
        return STILL_OPEN

    def _simple(self, step: ProcessStep, path: str) -> Walked:
        found = self.outputs.get(path)
        if found is None:
            self._emit(step, path)
            return STILL_OPEN
        if ERROR_KEY in found:
            return self._failed(step, path, found[ERROR_KEY], (path,))
        if step.kind == "return" and not found.get(FINAL_KEY):
            return Walked(RETURNED, value=shown(found))
        return Walked(DONE, value=shown(found))

    def _failed(self, step: ProcessStep, path: str, error: Mapping[str, Any], failed: tuple[str, ...]) -> Walked:
        if step.on_error == "fail":
            return Walked(ESCAPED, error=error, failed=failed)
        self.errors[path] = error
        if step.on_error == "route":
            walked = self.sequence(step.error_steps, f"{path}:{ERROR_BRANCH}/")
            if walked.state != DONE:
                return walked
        return Walked(DONE, value={"error": dict(error)})

    # -- steps with steps inside ---------------------------------------------------------------------------------

    def _branch(self, step: ProcessStep, path: str, opened: Mapping[str, Any]) -> Walked:
        values: dict[str, Any] = {}
        for name in opened["chosen"]:
            walked = self.sequence(step.body(name), f"{path}:{name}/")
            if walked.state != DONE:
                return walked
            values[name] = walked.value
        return Walked(DONE, value={"chosen": list(opened["chosen"]), "branches": values})

    def _parallel(self, step: ProcessStep, path: str, opened: Mapping[str, Any]) -> Walked:
        del opened
        join = step.config["join"]
        wanted = {"all": len(step.bodies), "any": 1}.get(join, join)
        values: dict[str, Any] = {}
        escaped: list[Walked] = []
        planned = len(self.specs)
        for body in step.bodies:
            walked = self.sequence(body.steps, f"{path}:{body.name}/")
            if walked.state == RETURNED:
                return walked
            if walked.state == ESCAPED:
                escaped.append(walked)
            elif walked.state == DONE:
                values[body.name] = walked.value
        if len(values) >= wanted:
            del self.specs[planned:]  # the others are not needed any more
            return Walked(DONE, value={"branches": values})
        if len(step.bodies) - len(escaped) < wanted:
            del self.specs[planned:]
            return Walked(ESCAPED, error=escaped[0].error, failed=tuple(path for one in escaped for path in one.failed))
        return STILL_OPEN

    def _foreach(self, step: ProcessStep, path: str, opened: Mapping[str, Any]) -> Walked:
        count = opened["count"]
        memo = self.outputs.memo.setdefault(path, {"low": 0, "done": set(), "results": [None] * count, "errors": {}})
        done: set[int] = memo["done"]
        active, index = 0, memo["low"]
        planned = len(self.specs)
        while index < count and active < step.config["concurrency"]:
            if index not in done:
                walked = self.sequence(step.body(""), f"{path}[{index}]/")
                if walked.state == OPEN:
                    active += 1
                elif walked.state == RETURNED:
                    return walked
                elif walked.state == ESCAPED and step.config["on_item_error"] == "fail":
                    del self.specs[planned:]
                    return walked
                else:
                    done.add(index)
                    memo["results"][index] = walked.value
                    if walked.error is not None:
                        memo["errors"][index] = walked.error
            index += 1
        while memo["low"] in done:
            memo["low"] += 1
        if len(done) < count:
            return STILL_OPEN
        errors = [
            {"index": index, "code": error.get("code"), "message": error.get("message")}
            for index, error in sorted(memo["errors"].items())
        ]
        return Walked(DONE, value={"results": memo["results"], "count": count, "failed": len(errors), "errors": errors})

    def _while(self, step: ProcessStep, path: str, opened: Mapping[str, Any]) -> Walked:
        del opened
        index: int = self.outputs.memo.get(path, 0)
        while True:
            place = f"{path}[{index}]"
            checked = self.outputs.get(place + CHECK)
            if checked is None:
                self._emit(step, place + CHECK, kind="process.check", name=f"{step.title} (round {index + 1})")
                return STILL_OPEN
            if ERROR_KEY in checked:
                return Walked(ESCAPED, error=checked[ERROR_KEY], failed=(place + CHECK,))
            if not checked["go"]:
                return Walked(DONE, value={"state": checked["state"], "iterations": index})
            walked = self.sequence(step.body(""), place + "/")
            if walked.state != DONE:
                return walked
            index += 1
            self.outputs.memo[path] = index

    # -- specs ---------------------------------------------------------------------------------------------------

    def _emit(self, step: ProcessStep, path: str, *, kind: str = "", name: str = "") -> None:
        connection: UUID | None = None
        if not kind and "connection" in step.config:
            connection = self.connection_of(step.config["connection"])
        kind = kind or f"process.{step.kind}"
        retry = step.retry
        self.specs.append(
            StepSpec(
                path=path,
                kind=kind,
                name=name or step.title,
                config={"step": step.id},
                connections=(connection,) if connection is not None else (),
                retry=RetryPolicy(retry.max_attempts, retry.base_s, retry.cap_s, retry.jitter),
                timeout_s=step.timeout_s,
                identity=step.identity,
            )
        )


def step_id_of(path: str) -> str:
    """Id of the step at a path that stands for a whole step: `loop[3]/post` is `post`."""
    return path.rpartition("/")[2]


def shown(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output without the engine's own marks."""
    return {name: value for name, value in output.items() if not name.startswith("$")}


__all__ = [
    "CHECK", "DEFAULT_BRANCH", "END", "ERROR_BRANCH", "FINAL_KEY", "OUTPUT_PATH", "UNDO", "Walked", "Walker", "shown",
    "step_id_of",
]  # fmt: skip
