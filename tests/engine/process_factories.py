"""Process definitions and runs for the engine's tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.engine.models import Run, StepResult
from apps.engine.services.executing import work_on_run
from apps.engine.services.runs import StartRequest, start_run
from tests.engine.factories import SYSTEM, make_flow


def step(id_: str, kind: str = "transform", /, *, config: Mapping[str, Any] | None = None, **envelope: Any) -> Any:
    """One step."""
    return {"id": id_, "kind": kind, "config": dict(config or {}), **envelope}


def value(id_: str, /, _envelope: Mapping[str, Any] | None = None, **values: str) -> Any:
    """A transform with these expressions."""
    return step(id_, config={"values": values}, **(_envelope or {}))


def process(*steps: Any, **settings: Any) -> dict[str, Any]:
    """A whole `process/1` definition."""
    return {"schema": "process/1", "kind": "process", "steps": list(steps), **settings}


def start(definition: Mapping[str, Any], parameters: Mapping[str, Any] | None = None, **request: Any) -> Run:
    """A run of a new process, not worked on yet."""
    flow = make_flow(definition)
    return start_run(
        StartRequest(flow.pk, "dev", version="draft", parameters=parameters or {}, **request), actor=SYSTEM
    )


def run(definition: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Run:
    """A run of a new process, worked on until nothing more can be done now."""
    started = start(definition, parameters)
    return work(started)


def work(started: Run) -> Run:
    """The run after a worker's visit."""
    work_on_run(started.pk)
    started.refresh_from_db()
    return started


def outputs(started: Run) -> dict[str, Any]:
    """Output by path of the latest attempts."""
    return dict(StepResult.objects.filter(run=started, latest=True).values_list("path", "output"))


def statuses(started: Run) -> dict[str, str]:
    """Status by path of the latest attempts."""
    return dict(StepResult.objects.filter(run=started, latest=True).values_list("path", "status"))
