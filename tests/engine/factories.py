"""Flows, programs and runs for the engine's tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from apps.access.contracts import Actor
from apps.engine.contracts import (
    Program,
    RetryPolicy,
    RunFacts,
    StepContext,
    StepOutcome,
    StepSpec,
    StepType,
)
from apps.engine.models import Run
from apps.engine.registries import programs, step_types
from apps.engine.services.runs import launch_run
from apps.integrations.models import Environment
from apps.integrations.services.drafts import create_flow

SYSTEM = Actor.system("tests")
_numbers = itertools.count(1)
FAST_RETRY = RetryPolicy(max_attempts=3, base_s=0.01, cap_s=0.02)


def flow_definition(
    *,
    source: str = "erp",
    entity: str = "public.invoices",
    target: str = "invoices",
    fields: Sequence[Mapping[str, Any]] | None = None,
    keys: Sequence[str] = ("id",),
    disposition: str = "upsert",
    validations: Sequence[Mapping[str, Any]] = (),
    row_filter: str | None = None,
    load: Mapping[str, Any] | None = None,
    contract: Mapping[str, Any] | None = None,
    controls: Sequence[Mapping[str, Any]] = (),
    limits: Mapping[str, Any] | None = None,
    target_connection: str = "warehouse",
) -> dict[str, Any]:
    """A whole `flow/1` definition; what is not given is harmless."""
    fields = fields or [
        {"target": "id", "type": "BIGINT", "expression": "id", "nullable": False},
        {"target": "total", "type": "DECIMAL(18,2)", "expression": "total", "nullable": True},
    ]
    definition: dict[str, Any] = {
        "schema": "flow/1",
        "kind": "load",
        "nodes": [
            {"id": "source", "kind": "source", "config": {"connection": source, "entity": entity}},
            {
                "id": "map",
                "kind": "map",
                "config": {"fields": list(fields), "filter": row_filter, "validations": list(validations)},
            },
            {
                "id": "target",
                "kind": "target",
                "config": {
                    "connection": target_connection,
                    "entity": target,
                    "disposition": disposition,
                    "keys": list(keys),
                },
            },
        ],
        "edges": [{"from": "source", "to": "map"}, {"from": "map", "to": "target"}],
    }
    if load is not None:
        definition["load"] = dict(load)
    if contract is not None:
        definition["contract"] = dict(contract)
    if controls:
        definition["reconciliation"] = {"controls": list(controls), "count_tolerance": 0}
    if limits is not None:
        definition["limits"] = dict(limits)
    return definition


def make_flow(definition: Mapping[str, Any] | None = None, *, name: str = "") -> Any:
    """A flow with that draft."""
    name = name or f"Flow {next(_numbers)}"
    return create_flow(name, definition=dict(definition or flow_definition()), actor=SYSTEM)


class ToyProgram(Program):
    """A program whose plan is a list given by the test."""

    type = "toy"
    specs: Callable[[Mapping[str, Mapping[str, Any]]], Sequence[StepSpec]]
    ended_runs: list[tuple[UUID, bool]]
    abandoned: list[UUID]

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.specs = lambda _outputs: [
            StepSpec("a", "toy.step", "A"),
            StepSpec("b", "toy.step", "B", depends_on=("a",)),
        ]
        self.ended_runs = []
        self.abandoned = []

    def plan(self, run: RunFacts, outputs: Mapping[str, Mapping[str, Any]]) -> Sequence[StepSpec]:
        return self.specs(outputs)

    def ended(self, run: RunFacts, *, succeeded: bool) -> None:
        self.ended_runs.append((run.id, succeeded))

    def abandon(self, run: RunFacts, outputs: Mapping[str, Mapping[str, Any]]) -> None:
        self.abandoned.append(run.id)


class ToyStep(StepType):
    """A step that does what the test says for its path."""

    type = "toy.step"
    actions: dict[str, Callable[[StepContext], StepOutcome | None]]
    executed: list[tuple[str, int]]

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.actions = {}
        self.executed = []

    def execute(self, context: StepContext) -> StepOutcome:
        self.executed.append((context.path, context.attempt))
        action = self.actions.get(context.path)
        return (action(context) if action is not None else None) or StepOutcome(output={"path": context.path})


def install_toys() -> tuple[ToyProgram, ToyStep]:
    """Register the toys once, and make them new."""
    program, step = programs.find("toy"), step_types.find("toy.step")
    if program is None or step is None:
        program, step = programs.register(ToyProgram()), step_types.register(ToyStep())
    assert isinstance(program, ToyProgram)
    assert isinstance(step, ToyStep)
    program.reset()
    step.reset()
    return program, step


def make_run(flow: Any = None, *, environment: str = "dev", exclusive: bool = True, **values: Any) -> Run:
    """A queued run of the toy program, advanced once."""
    flow = flow or make_flow()
    run = Run(
        flow_id=flow.pk,
        environment=Environment.objects.get(slug=environment),
        flow_name=flow.name,
        kind="toy",
        definition=flow_definition(),
        exclusive=exclusive,
        **values,
    )
    return launch_run(run, actor=SYSTEM)
