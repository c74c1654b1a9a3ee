"""Where higher apps add their knowledge about flows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from apps.core.exceptions import Problem
from apps.core.registries import AlreadyRegistered, Registry, UnknownType
from apps.integrations.contracts import DeploymentRequest


class FlowFacts(ABC):
    """Facts about many flows at once, merged into the flows list (the engine adds `last_run`)."""

    type: str
    names: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def facts_for(self, flow_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
        """Facts of those flows in a fixed number of queries.

        Args:
            flow_ids: flows of one page, at most 200.

        Returns:
            {flow id: {name: JSON value}}; names are those of `names`. A flow without facts may be left out.
        """


class DeploymentCheck(ABC):
    """An opinion on a deployment, asked in the deploying transaction before anything changes."""

    type: str

    @abstractmethod
    def check(self, request: DeploymentRequest) -> Sequence[Problem]:
        """Findings; one of severity `error` refuses the deployment, warnings are recorded with it."""


@dataclass(frozen=True)
class HandlerCall:
    """What a handler of a process step is called with. It may be called again with the same key after a crash.

    Attributes:
        run_id, step: the run, and the path of the step in it.
        input: what the run was started with.
        outputs: by id, what the steps before this one left.
        arguments: the values of the step's expressions.
        error: {code, message, step} of the step that failed, in its error route; else None.
        attempt: 1 for the first one.
        idempotency_key: the same for every call for this step with the same data, in a run and in its restarts; hand it
            to systems that honour one.
        remaining_s: seconds until the step's time is over.
        tick: call it now and then; raises when the run is cancelled, the time is over or the step belongs to another
            worker.
        log: (level, message) appends a line to the run's log.
    """

    run_id: UUID
    step: str
    input: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]
    arguments: Mapping[str, Any]
    error: Mapping[str, Any] | None
    attempt: int
    idempotency_key: UUID
    remaining_s: float
    tick: Callable[[], None]
    log: Callable[[str, str], None]


HandlerFunction = Callable[[HandlerCall], Mapping[str, Any] | None]


@dataclass(frozen=True)
class ProcessHandler:
    """A function that `handler` steps of processes call by name.

    Attributes:
        type: its name, `<app>.<verb>`.
        function: takes the call, returns the step's output (JSON values; None is `{}`); what it raises fails the step.
    """

    type: str
    function: HandlerFunction


flow_facts: Registry[FlowFacts] = Registry("flow facts", FlowFacts)  # type: ignore[type-abstract]
deployment_checks: Registry[DeploymentCheck] = Registry("deployment check", DeploymentCheck)  # type: ignore[type-abstract]
process_handlers: Registry[ProcessHandler] = Registry("process handler", ProcessHandler)


def process_handler(name: str) -> Callable[[HandlerFunction], HandlerFunction]:
    """Decorator: register a function under a name, for `handler` steps. Do it where the app is loaded at start-up.

    Args:
        name: `<app>.<verb>`, as in `reports.fetch_data`.

    Raises:
        AlreadyRegistered: another function has the name.
    """

    def register(function: HandlerFunction) -> HandlerFunction:
        known = process_handlers.find(name)
        if known is not None and _place_of(known.function) != _place_of(function):
            raise AlreadyRegistered(f"Two functions are called {name!r}.", value=name)
        process_handlers.register(ProcessHandler(name, function))
        return function

    return register


def name_of_handler(handler: HandlerFunction | str) -> str:
    """The name under which a function is registered; a name stays one.

    Raises:
        UnknownType: the function is not registered.
    """
    if isinstance(handler, str):
        return handler
    found = next((known.type for known in process_handlers if known.function is handler), None)
    if found is None:
        raise UnknownType(
            f"{handler.__qualname__} is no process handler.",
            value=handler.__qualname__,
            remedy="Register it with @process_handler('<app>.<verb>').",
        )
    return found


def _place_of(function: HandlerFunction) -> tuple[str, str]:
    return function.__module__, function.__qualname__
