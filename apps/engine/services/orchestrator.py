"""Durable processes from Python: steps with handlers, dependencies, error handlers and time limits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.access.contracts import Actor
from apps.engine.choices import ENDED_RUN_STATUSES, RunStatus, TriggerKind
from apps.engine.exceptions import ProcessEnded, ProcessUnfinished
from apps.engine.selectors import get_run, list_triggers
from apps.engine.services.runs import StartRequest, start_run
from apps.engine.services.triggers.editing import create_trigger, update_trigger
from apps.integrations.exceptions import FlowNotFound
from apps.integrations.process_contracts import StepRetry
from apps.integrations.registries import HandlerFunction, name_of_handler
from apps.integrations.selectors import get_flow_by_slug
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.drafts import create_flow, to_slug, update_draft
from apps.integrations.services.flows import publish_flow
from apps.integrations.shape import PROCESS_SCHEMA_ID

POLL_FIRST_S, POLL_MOST_S = 0.02, 1.0
EVENT_TRIGGER = "events"
"""Name of the trigger that `start_on` makes."""


@dataclass(frozen=True)
class HandlerStep:
    """A step of a process that calls a function.

    Attributes:
        id: `fetch-data`; unique in the process.
        handler: a function registered by `process_handler`, or its name.
        dependencies: ids of the steps that must have ended before; none: the step begins at once.
        error_handler: called instead when the handler failed for good; the process goes on then, unless it raises.
        timeout_s: longest time of one attempt.
        retry: for passing faults (`TransientError`); the default tries four times.
        arguments: name -> expression, handed to the handler.
    """

    id: str
    handler: HandlerFunction | str
    dependencies: Sequence[str] = ()
    error_handler: HandlerFunction | str | None = None
    timeout_s: float | None = None
    retry: StepRetry = field(default_factory=StepRetry)
    arguments: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The step as in a process definition."""
        step: dict[str, Any] = {
            "id": self.id,
            "kind": "handler",
            "config": {"handler": name_of_handler(self.handler), "arguments": dict(self.arguments)},
            "dependencies": list(self.dependencies),
            "timeout_s": self.timeout_s,
            "retry": self.retry.to_json(),
        }
        if self.error_handler is not None:
            handler = {"handler": name_of_handler(self.error_handler)}
            step |= {
                "on_error": "route",
                "error_steps": [{"id": f"{self.id}-error", "kind": "handler", "config": handler}],
            }
        return step


class ProcessOrchestrator:
    """Defines a process of the current tenant and executes it durably on the workers.

    What is defined is an ordinary flow: it is seen, started, paused and traced like any other.

    Args:
        process_name: the flow's name; the flow is made when it is not there.
        actor: needs `flow:edit`, `flow:publish` and `flow:deploy` to define, `run:start` to execute.
        environment: where it is deployed and executed.
    """

    def __init__(self, process_name: str, *, actor: Actor, environment: str = "dev") -> None:
        self.process_name = process_name
        self.actor = actor
        self.environment = environment

    def define_process(
        self,
        steps: Sequence[HandlerStep | Mapping[str, Any]],
        *,
        output: Mapping[str, str] | None = None,
        note: str = "",
    ) -> int:
        """Publish and deploy the process, unless the deployed version behaves the same already.

        Args:
            steps: handler steps, and steps of other kinds in their JSON form (publish, wait, task …).
            output: name -> expression over the steps; absent: what each step left that no other depends on.
            note: what changed, for people.

        Returns:
            Number of the version that is active now.

        Raises:
            DefinitionInvalid: a dependency or handler does not exist, steps wait for each other, …; one problem each.
        """
        listed = [step.to_json() if isinstance(step, HandlerStep) else {"dependencies": [], **step} for step in steps]
        definition = {
            "schema": PROCESS_SCHEMA_ID,
            "kind": "process",
            "steps": listed,
            "output": _last_outputs(listed) if output is None else dict(output),
        }
        with transaction.atomic():
            try:
                flow = get_flow_by_slug(to_slug(self.process_name))
            except FlowNotFound:
                flow_id = create_flow(self.process_name, actor=self.actor, definition=definition).pk
            else:
                flow_id = flow.id
                update_draft(flow_id, definition, expected_revision=flow.draft_revision, actor=self.actor)
            version = publish_flow(flow_id, actor=self.actor, note=note).version
            deploy_version(flow_id, environment=self.environment, version=version.number, actor=self.actor)
        return version.number

    def start_on(self, *types: str, mapping: Mapping[str, str], filter: str = "") -> UUID:  # noqa: A002 - the field's name
        """Let events start the process, one run for each: services that know each other by events only.

        Args:
            types: types of events, or patterns of the portal's own (`run.*`).
            mapping: input of the run by name, expressions over the event (`data->>'report_id'`, `subject` …).
            filter: BOOLEAN expression over the event; others start nothing.

        Returns:
            Id of the trigger; called again, it is changed, and keeps its place in the log of events.
        """
        flow = get_flow_by_slug(to_slug(self.process_name))
        settings = {"types": list(types), "mapping": dict(mapping), "filter": filter}
        with transaction.atomic():
            known = list_triggers().filter(
                flow_id=flow.id, environment__slug=self.environment, kind=TriggerKind.EVENT, name=EVENT_TRIGGER
            )
            row = known.first()
            if row is None:
                named = {"name": EVENT_TRIGGER, **settings}
                return create_trigger(flow.id, self.environment, kind=TriggerKind.EVENT, actor=self.actor, **named).pk
            return update_trigger(row.pk, actor=self.actor, **settings).pk

    def start(self, parameters: Mapping[str, Any], *, idempotency_key: str | None = None) -> UUID:
        """Queue a run of the deployed version; gives its id."""
        flow = get_flow_by_slug(to_slug(self.process_name))
        request = StartRequest(flow.id, self.environment, parameters=dict(parameters), idempotency_key=idempotency_key)
        return start_run(request, actor=self.actor).pk

    def execute(
        self, parameters: Mapping[str, Any], *, timeout_s: float = 3600.0, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Start a run and wait for its result. The run does not depend on the one who waits.

        Args:
            parameters: input of the run, JSON values.
            timeout_s: how long to wait.
            idempotency_key: a repeated call with the same key waits for the first one's run.

        Raises:
            ProcessEnded: it failed or was cancelled; says where and why.
            ProcessUnfinished: it goes on after `timeout_s`.
        """
        return self.wait_for(self.start(parameters, idempotency_key=idempotency_key), timeout_s=timeout_s)

    def wait_for(self, run_id: UUID, *, timeout_s: float) -> dict[str, Any]:
        """Result of a run, once it has ended. Call it outside of transactions. Raises as `execute` does."""
        deadline, pause = time.monotonic() + timeout_s, POLL_FIRST_S
        while True:
            run = get_run(run_id)
            if run.status in ENDED_RUN_STATUSES:
                break
            if time.monotonic() > deadline:
                raise ProcessUnfinished(f"{run.flow_name} has not ended within {timeout_s:,g} s.", value=str(run_id))
            time.sleep(pause)
            pause = min(pause * 1.5, POLL_MOST_S)
        if run.status != RunStatus.SUCCEEDED:
            error = run.error or {}
            reason = error.get("message") or "It was cancelled."
            raise ProcessEnded(f"{run.flow_name} ended as {run.status}: {reason}", value=str(run_id))
        return dict(run.result or {})


def _last_outputs(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Outputs of the steps that no other step waits for, by id."""
    named = {name for step in steps for name in step["dependencies"]}
    ids = [step["id"] for step in steps if step["id"] not in named and step["kind"] not in ("return", "raise")]
    return {id_.replace("-", "_"): f'steps."{id_}".output' for id_ in ids}
