"""Which steps of a run a restart keeps: what has ended before a path, in walking order. Pure.

Everything that comes after the path or depends on it is done again: later steps and iterations, the ends of the steps
around it, cases that were chosen after its own. Other branches of a parallel step, and graph steps that do not name it,
neither depend on it nor come after it, so they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.engine.services.processes.scopes import SEGMENT
from apps.engine.services.processes.walking import CHECK, DEFAULT_BRANCH, END, ERROR_BRANCH, OUTPUT_PATH, UNDO
from apps.integrations.process_contracts import ProcessDefinition, ProcessStep, ancestors_of, is_graph


@dataclass(frozen=True)
class _Segment:
    """One part of a path: `loop[3]`, `check:approved`, `loop.end`."""

    id: str
    index: int | None
    branch: str | None
    part: str

    @property
    def is_plain(self) -> bool:
        return self.index is None and self.branch is None and not self.part


def is_kept(definition: ProcessDefinition, start: str, path: str) -> bool:
    """Whether the step at `path` has ended before the one at `start`, and does not depend on it.

    Args:
        definition: the process.
        start: where a restart begins; a path of a step of a run of it, not of a compensation.
        path: path of another step of the same run.
    """
    if path.startswith(UNDO) or path == OUTPUT_PATH:
        return False
    if start == OUTPUT_PATH:
        return True
    steps: Sequence[ProcessStep] = definition.steps
    goal, given = _split(start), _split(path)
    for level, (at, here) in enumerate(zip(goal, given, strict=False)):
        if here.id != at.id:
            if is_graph(steps):
                return at.id not in ancestors_of(next(one for one in steps if one.id == here.id), steps)
            order = [step.id for step in steps]
            return order.index(here.id) < order.index(at.id)
        step = next(one for one in steps if one.id == at.id)
        last, ends = level == len(goal) - 1, level == len(given) - 1
        verdict = _beside(step, at, here, last=last, ends=ends)
        if verdict is not None:
            return verdict
        steps = step.body(at.branch or "")
    return False


def _beside(step: ProcessStep, at: _Segment, here: _Segment, *, last: bool, ends: bool) -> bool | None:
    """The verdict on a path that goes through the same step; None when both go on into the same part of it."""
    if last and at.part == END:
        return not (ends and here.part == END) and here.branch != ERROR_BRANCH
    if last and at.part == CHECK:
        assert at.index is not None
        return here.is_plain if here.index is None else here.index < at.index
    if last:
        return False
    if at.branch == ERROR_BRANCH:
        return None if here.branch == ERROR_BRANCH else True
    if here.branch == ERROR_BRANCH or here.part == END:
        return False
    if here.is_plain:
        return True
    if at.index is not None:
        assert here.index is not None
        if here.part == CHECK:
            return here.index <= at.index
        return None if here.index == at.index else here.index < at.index
    if here.branch == at.branch:
        return None
    if step.kind == "parallel":
        return True
    names = [body.name for body in step.bodies]
    return DEFAULT_BRANCH not in (here.branch, at.branch) and names.index(str(here.branch)) < names.index(
        str(at.branch)
    )


def _split(path: str) -> list[_Segment]:
    found = []
    for text in path.split("/"):
        match = SEGMENT.fullmatch(text)
        assert match is not None, path
        index = None if match["index"] is None else int(match["index"])
        found.append(_Segment(match["id"], index, match["branch"], match["part"] or ""))
    return found
