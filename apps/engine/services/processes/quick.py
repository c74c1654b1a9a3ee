"""Steps that compute, decide and end: executed inside the visit that finds them ready."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.access.contracts import Actor
from apps.engine.contracts import EffectDraft, StepContext, StepOutcome
from apps.engine.events import PROCESS_MESSAGE
from apps.engine.exceptions import ItemsInvalid, LoopTooLong, ProcessRaised
from apps.engine.services.effects import find_prior, record_effect, repeat_outcome
from apps.engine.services.processes.scopes import Scope
from apps.engine.services.processes.steps import ProcessStepType
from apps.engine.services.processes.walking import DEFAULT_BRANCH
from apps.events.selectors import is_event_defined
from apps.events.services.event_contracts import publish_custom_event
from apps.events.services.outbox import publish_event
from apps.integrations.process_contracts import ProcessStep


class Transform(ProcessStepType):
    """Values of expressions, and constants."""

    type = "process.transform"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """One object of all of them."""
        return StepOutcome(output={**step.config["constants"], **scope.evaluate(step.config["values"])})


class Branch(ProcessStepType):
    """Chooses cases: the first that holds, or all; else the default."""

    type = "process.branch"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Names of the chosen cases. With `first`, later conditions are not evaluated."""
        chosen: list[str] = []
        for case in step.config["cases"]:
            if scope.holds(case["when"]):
                chosen.append(case["name"])
                if step.config["match"] == "first":
                    break
        if not chosen and any(body.name == DEFAULT_BRANCH for body in step.bodies):
            chosen = [DEFAULT_BRANCH]
        return StepOutcome(output={"chosen": chosen}, detail=", ".join(chosen) or "No case holds.")


class Parallel(ProcessStepType):
    """Opens its branches; the walk joins them."""

    type = "process.parallel"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Nothing to decide."""
        return StepOutcome(output={"branches": [body.name for body in step.bodies]})


class ForEach(ProcessStepType):
    """Fixes the items of a loop; they stay what they were when it began."""

    type = "process.foreach"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """The list, bounded."""
        items = scope.evaluate({"items": step.config["items"]})["items"]
        if items is None:
            items = []
        if not isinstance(items, list):
            raise ItemsInvalid(f"{step.title}: the items are not a list.", field="items")
        if len(items) > step.config["max_items"]:
            raise ItemsInvalid(
                f"{step.title}: there are {len(items):,} items; at most {step.config['max_items']:,} are taken.",
                field="items",
                remedy="Raise max_items, or load such numbers of rows with a load flow.",
            )
        return StepOutcome(output={"items": items, "count": len(items)}, detail=f"{len(items):,} items")


class While(ProcessStepType):
    """Opens a loop; each round is decided at its own path."""

    type = "process.while"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Nothing to decide yet."""
        return StepOutcome()


class Check(ProcessStepType):
    """Decides on one more round of a while, and computes its state."""

    type = "process.check"
    inline = True
    enveloped = False

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """{go, state}."""
        index = scope.place.index
        if index == 0:
            state = scope.evaluate(step.config["state"])
        else:
            path = scope.path.rpartition("[")[0]
            before = scope.outputs[f"{path}[{index - 1}].check"]["state"]
            state = {**before, **scope.evaluate(step.config["next"], state=before, index=index - 1)}
        go = scope.evaluate({"go": step.config["condition"]}, state=state, index=index)["go"] is True
        if go and index >= step.config["max_iterations"]:
            raise LoopTooLong(f"{step.title} has not ended after {index:,} rounds.", value=index)
        return StepOutcome(output={"go": go, "state": state})


class Join(ProcessStepType):
    """Closes a step with steps inside: its output is what they left."""

    type = "process.join"
    inline = True
    enveloped = False

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """The value of the step."""
        return StepOutcome(output=scope.value_inside(scope.path.removesuffix(".end")))


class Raise(ProcessStepType):
    """Ends the flow, or the part of it that handles errors, with an error."""

    type = "process.raise"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Never returns."""
        text = scope.evaluate({"message": step.config["message"]})["message"]
        raise ProcessRaised(str(text), raised_code=step.config["code"])


class Return(ProcessStepType):
    """Ends the flow well, with a result."""

    type = "process.return"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """The result."""
        return StepOutcome(output=scope.evaluate(step.config["values"]))


class Output(ProcessStepType):
    """The result of a flow that ends without a return step."""

    type = "process.output"
    inline = True
    enveloped = False

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """The values of the definition's `output`."""
        return StepOutcome(output=scope.evaluate(scope.definition.output or {}))


class Publish(ProcessStepType):
    """Publishes an event in the transaction that records the step: it exists if and only if the step succeeded.

    Of a type that the tenant defined; any other name is that of a message between processes.
    """

    type = "process.publish"
    inline = True

    def draft(self, step: ProcessStep, scope: Scope) -> EffectDraft:
        """The event as it would be published."""
        data = scope.evaluate(step.config["data"])
        correlation: Any = None
        if step.config["correlation"] is not None:
            correlation = scope.evaluate({"correlation": step.config["correlation"]})["correlation"]
        correlation = None if correlation is None else str(correlation)
        summary = {"fields": sorted(data)[:100]}
        return EffectDraft("publish", step.config["event"], [data, correlation], correlation or "", summary=summary)

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Prepare the event; it is sent with the outcome, and the step fails if it does not fit its type."""
        draft = self.draft(step, scope)
        prior = find_prior(context.run, context.path, draft)
        if prior.confirmed is not None:
            return repeat_outcome(context, draft, prior.confirmed)
        name, (data, correlation) = step.config["event"], draft.payload
        subject = f"run/{context.run.id}"
        output = {"event": name, "correlation": correlation, "data": data}

        def publish() -> UUID:
            if is_event_defined(name):
                return publish_custom_event(
                    name,
                    subject=subject,
                    data=data,
                    client_id=f"step/{context.step_id}",
                    key=correlation or None,
                    actor=Actor.system(f"process {context.run.flow_name}"),
                ).event_id
            return publish_event(
                PROCESS_MESSAGE,
                subject=subject,
                key=f"{name}:{correlation}"[:200] if correlation is not None else name,
                data={
                    "name": name,
                    "correlation": correlation,
                    "data": data,
                    "run_id": context.run.id,
                    "flow_id": context.run.flow_id,
                    "path": context.path,
                },
            )

        def commit() -> None:
            record_effect(context, draft, result=output, reference=str(publish()), prior=prior)

        return StepOutcome(output=output, commit=commit)
