"""The process definition (`process/1`) as frozen dataclasses. The JSON form is fixed by `schemas/process-1.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from apps.integrations.shape import PROCESS_SCHEMA_ID, ensure_process_shape

DEFAULT_BRANCH = "default"
ERROR_BRANCH = "error"

DEFAULTS: dict[str, dict[str, Any]] = {
    "transform": {"values": {}, "constants": {}},
    "branch": {"match": "first"},
    "parallel": {"join": "all"},
    "foreach": {"concurrency": 1, "on_item_error": "fail", "max_items": 1000},
    "while": {"state": {}, "next": {}, "max_iterations": 100},
    "raise": {"code": "process.raised"},
    "return": {"values": {}},
    "load": {"mode": None, "since": None, "wait": True},
    "flow": {"input": {}, "wait": True},
    "read": {"columns": None, "limit": 100},
    "query": {"parameters": {}, "limit": 100},
    "write": {"disposition": "append", "keys": []},
    "delay": {},
    "until": {},
    "workday": {"days": "1", "at": "09:00"},
    "wait": {"correlation": None, "timeout_s": None, "on_timeout": "fail", "look_back": False},
    "publish": {"correlation": None, "data": {}},
    "task": {
        "title": None,
        "description": None,
        "show": {},
        "people": None,
        "role": None,
        "quorum": "any",
        "deadline_s": None,
        "on_deadline": None,
        "delegation": True,
        "no_self_approval": False,
    },
    "mail": {"cc": None, "bcc": None, "reply_to": None, "sender": None, "attachment": None},
    "decide": {"hit": "unique", "otherwise": None},
    "handler": {"arguments": {}},
}
"""Settings that a kind has when they are left out."""


@dataclass(frozen=True)
class StepRetry:
    """When a passing fault is tried again. See the engine's `RetryPolicy`."""

    max_attempts: int = 4
    base_s: float = 1.0
    cap_s: float = 60.0
    jitter: float = 0.2

    def to_json(self) -> dict[str, Any]:
        """The policy as in the definition."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class StepBody:
    """A named sequence inside a step: a case, a parallel branch, a loop's body (name `""`), the error route."""

    name: str
    steps: tuple[ProcessStep, ...]


@dataclass(frozen=True)
class ProcessStep:
    """One step with the envelope that all kinds share.

    Attributes:
        id: unique in the definition; `steps.<id>` in expressions, part of the path of its executions.
        kind: what it does.
        config: settings of the kind, defaults written out, without the steps inside it.
        bodies: the sequences inside it, in order.
        retry: for passing faults.
        timeout_s: longest time of one attempt; None is the installation's limit.
        on_error: `fail` hands the error to the step around it, `continue` goes on, `route` runs `error_steps` first.
        error_steps: see above; they see `error.code` and `error.message`.
        compensation: steps that undo this one, once it has completed, when the run fails or is cancelled; they see its
            output, what it saw, and `error`.
        skip_if: BOOLEAN expression; the step is skipped where it is true.
        mock: {enabled, output}; an enabled one answers instead of the step.
        cache: {key, ttl_s}; an output that is young enough is reused for the same key.
        name, notes: for people; not part of the behaviour.
        dependencies: steps of the same list that must have ended before this one begins; see `is_graph`.
    """

    id: str
    kind: str
    config: Mapping[str, Any]
    bodies: tuple[StepBody, ...] = ()
    retry: StepRetry = field(default_factory=StepRetry)
    timeout_s: float | None = None
    on_error: str = "fail"
    error_steps: tuple[ProcessStep, ...] = ()
    compensation: tuple[ProcessStep, ...] = ()
    skip_if: str | None = None
    mock: Mapping[str, Any] | None = None
    cache: Mapping[str, Any] | None = None
    name: str = ""
    notes: str = ""
    dependencies: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        """What people see."""
        return self.name or self.id

    @cached_property
    def identity(self) -> str:
        """Hash of the step's own behaviour (not of the steps inside it): a stored execution continues only on it."""
        own = [self.id, self.kind, dict(self.config), self.skip_if, self.mock, self.cache]
        text = json.dumps(own, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def body(self, name: str) -> tuple[ProcessStep, ...]:
        """Steps of one of its sequences; empty when there is none of that name."""
        if name == ERROR_BRANCH:
            return self.error_steps
        return next((body.steps for body in self.bodies if body.name == name), ())

    def walk(self) -> Iterator[ProcessStep]:
        """This step and all inside it."""
        yield self
        for body in self.bodies:
            for step in body.steps:
                yield from step.walk()
        for step in (*self.error_steps, *self.compensation):
            yield from step.walk()

    def to_json(self) -> dict[str, Any]:
        """The step as in the definition, every default written out."""
        # Left out where nothing is said, so that versions from before there were dependencies keep their hashes.
        graph = {} if self.dependencies is None else {"dependencies": list(self.dependencies)}
        return {
            "id": self.id,
            "kind": self.kind,
            **graph,
            "config": _config_to_json(self),
            "name": self.name,
            "notes": self.notes,
            "retry": self.retry.to_json(),
            "timeout_s": self.timeout_s,
            "on_error": self.on_error,
            "error_steps": [step.to_json() for step in self.error_steps],
            "compensation": [step.to_json() for step in self.compensation],
            "skip_if": self.skip_if,
            "mock": None if self.mock is None else dict(self.mock),
            "cache": None if self.cache is None else dict(self.cache),
        }


@dataclass(frozen=True)
class InputField:
    """A field that a run is started with. `type` is DuckDB's name."""

    name: str
    type: str
    nullable: bool = True
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        """The field as in the definition."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class ProcessDefinition:
    """A durable process, and nothing about where it runs.

    Attributes:
        steps: in order; a step begins when the one before it has ended.
        input: declared fields; None takes any object.
        output: name -> expression; the result of a run that ends without a return step.
        variables: {name: default}; None = each environment must set a value.
        concurrency: runs of the flow that may work at once in an environment; None = the installation's default.
    """

    steps: tuple[ProcessStep, ...]
    kind: str = "process"
    input: tuple[InputField, ...] | None = None
    output: Mapping[str, str] | None = None
    variables: Mapping[str, str | None] = field(default_factory=dict)
    concurrency: int | None = None

    @cached_property
    def by_id(self) -> dict[str, ProcessStep]:
        """Every step by id."""
        return {step.id: step for step in self.walk()}

    @cached_property
    def is_undone(self) -> bool:
        """Whether any step has a compensation."""
        return any(step.compensation for step in self.walk())

    @property
    def slots(self) -> tuple[str, ...]:
        """Connection slots the process uses, without repetition, in order."""
        found = (step.config["connection"] for step in self.walk() if "connection" in step.config)
        return tuple(dict.fromkeys(found))

    def walk(self) -> Iterator[ProcessStep]:
        """Every step, parents first."""
        for step in self.steps:
            yield from step.walk()

    def to_json(self) -> dict[str, Any]:
        """The definition as JSON values, every default written out."""
        return {
            "schema": PROCESS_SCHEMA_ID,
            "kind": self.kind,
            "input": None if self.input is None else [item.to_json() for item in self.input],
            "steps": [step.to_json() for step in self.steps],
            "output": None if self.output is None else dict(self.output),
            "variables": dict(self.variables),
            "limits": {"concurrency": self.concurrency},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build the definition from JSON values.

        Raises:
            DefinitionInvalid: the shape is wrong; `problems` name every place by path.
        """
        ensure_process_shape(data)
        given = data.get("input")
        return cls(
            steps=_to_steps(data["steps"]),
            kind=data["kind"],
            input=None if given is None else tuple(InputField(**item) for item in given),
            output=data.get("output"),
            variables=dict(data.get("variables", {})),
            concurrency=data.get("limits", {}).get("concurrency"),
        )


def _to_steps(data: Any) -> tuple[ProcessStep, ...]:
    return tuple(_to_step(item) for item in data)


def _to_step(data: Mapping[str, Any]) -> ProcessStep:
    kind = data["kind"]
    undo = data.get("compensation", ())
    config = {**DEFAULTS.get(kind, {}), **data.get("config", {})}
    bodies: list[StepBody] = []
    if kind in ("branch", "parallel"):
        listed = "cases" if kind == "branch" else "branches"
        bodies = [StepBody(item["name"], _to_steps(item["steps"])) for item in config[listed]]
        config[listed] = [{name: value for name, value in item.items() if name != "steps"} for item in config[listed]]
        if "default" in config:
            bodies.append(StepBody(DEFAULT_BRANCH, _to_steps(config.pop("default"))))
    elif kind in ("foreach", "while"):
        bodies = [StepBody("", _to_steps(config.pop("steps")))]
    elif kind == "decide":
        config["rules"] = [{"when": {}, "priority": 0, **rule} for rule in config["rules"]]
    return ProcessStep(
        id=data["id"],
        kind=kind,
        config=config,
        bodies=tuple(bodies),
        retry=StepRetry(**data.get("retry", {})),
        timeout_s=data.get("timeout_s"),
        on_error=data.get("on_error", "fail"),
        error_steps=_to_steps(data.get("error_steps", ())),
        compensation=_to_steps([undo] if isinstance(undo, Mapping) else undo),
        skip_if=data.get("skip_if"),
        mock=data.get("mock"),
        cache=data.get("cache"),
        name=data.get("name", ""),
        notes=data.get("notes", ""),
        dependencies=tuple(data["dependencies"]) if "dependencies" in data else None,
    )


def is_graph(steps: Sequence[ProcessStep]) -> bool:
    """Whether the steps of a list begin when those they depend on have ended, and not one after the other."""
    return any(step.dependencies is not None for step in steps)


def ancestors_of(step: ProcessStep, steps: Sequence[ProcessStep]) -> frozenset[str]:
    """Ids of the steps of a graph that have surely ended before one of them begins."""
    by_id = {item.id: item for item in steps}
    found: set[str] = set()
    waiting = list(step.dependencies or ())
    while waiting:
        name = waiting.pop()
        if name in by_id and name not in found:
            found.add(name)
            waiting += by_id[name].dependencies or ()
    return frozenset(found)


def _config_to_json(step: ProcessStep) -> dict[str, Any]:
    config = dict(step.config)
    if step.kind in ("branch", "parallel"):
        listed = "cases" if step.kind == "branch" else "branches"
        config[listed] = [
            {**item, "steps": [inner.to_json() for inner in step.body(item["name"])]} for item in config[listed]
        ]
        if any(body.name == DEFAULT_BRANCH for body in step.bodies):
            config["default"] = [inner.to_json() for inner in step.body(DEFAULT_BRANCH)]
    elif step.kind in ("foreach", "while"):
        config["steps"] = [inner.to_json() for inner in step.body("")]
    return config
