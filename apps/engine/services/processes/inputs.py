"""What a step's expressions came to, evaluated again from what the run has recorded, when a person looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.core.exceptions import PortalError
from apps.engine.choices import RunKind
from apps.engine.contracts import ResourceBag
from apps.engine.models import Run, StepResult
from apps.engine.services.advancing import to_facts
from apps.engine.services.processes.scopes import Scope
from apps.engine.services.processes.walking import OUTPUT_PATH
from apps.engine.services.steering import outputs_of
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.services.environments import resolve_variables
from apps.integrations.services.processes import expressions_of
from apps.integrations.shape import path_text

SHOWN_BYTES = 64 * 1024
SEEN_LATER = {"while": ("condition", "next"), "decide": ("rules", "otherwise")}
"""Expressions that see more than the step does when it begins: they belong to the rounds and rules inside it."""


@dataclass(frozen=True)
class StepInput:
    """One expression of a step.

    Attributes:
        place: where it stands in the step (`config.values.total`).
        expression: its text.
        value: what it came to, as JSON; None where there is a problem.
        problem: why there is no value to show.
    """

    place: str
    expression: str
    value: Any
    problem: str | None = None


def list_inputs(run: Run, step: StepResult) -> list[StepInput]:
    """The expressions of a process step with their values. Secret variables are masked.

    Values are not stored: what they are made of is, and does not change any more. An expression over the clock is the
    exception, and shows the present.
    """
    if run.kind != RunKind.PROCESS:
        return []
    latest = StepResult.objects.filter(run=run, latest=True).only("path", "status", "output", "error")
    resources = ResourceBag()
    scope = Scope(to_facts(run), step.path, outputs_of(list(latest)), resources)
    if scope.place.part:
        return []
    resources.get(
        "process.variables",
        str(run.environment_id),
        lambda: resolve_variables(run.environment_id, scope.definition, mask_secrets=True),
    )
    return [_evaluate(scope, place, text) for place, text in _expressions(scope, step.path)]


def _expressions(scope: Scope, path: str) -> Iterator[tuple[str, str]]:
    if path == OUTPUT_PATH:
        for name, text in (scope.definition.output or {}).items():
            yield f"output.{name}", text
        return
    step = scope.place.step
    assert isinstance(step, ProcessStep)
    for parts, text in expressions_of(step):
        if parts[0] not in SEEN_LATER.get(step.kind, ()):
            yield path_text(["config", *parts]), text
    if step.skip_if is not None:
        yield "skip_if", step.skip_if
    if step.cache is not None:
        yield "cache.key", step.cache["key"]


def _evaluate(scope: Scope, place: str, text: str) -> StepInput:
    try:
        value = scope.evaluate({"value": text})["value"]
    except PortalError as error:
        return StepInput(place, text, None, error.message)
    size = len(json.dumps(value, default=str))
    if size > SHOWN_BYTES:
        return StepInput(place, text, None, f"The value has {size:,} bytes; up to {SHOWN_BYTES:,} are shown.")
    return StepInput(place, text, value)
