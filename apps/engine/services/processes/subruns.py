"""Steps that start another run: a load or a process. Waiting for it holds no worker and no slot."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.access.contracts import Actor
from apps.engine.choices import ACTIVE_RUN_STATUSES, RunStatus, RunTrigger
from apps.engine.contracts import EffectDraft, ParkedStep, StepContext, StepOutcome, Wait
from apps.engine.exceptions import RunAlreadyActive, SubRunBusy, SubRunFailed
from apps.engine.models import Run
from apps.engine.selectors import get_environment_slug
from apps.engine.services.controlling import cancel_run
from apps.engine.services.effects import find_prior, record_effect, repeat_outcome, settle_effect
from apps.engine.services.processes.scopes import Scope
from apps.engine.services.processes.steps import ProcessStepType
from apps.engine.services.runs import StartRequest, start_run
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.selectors import get_flow_by_slug

DEEPEST = 10


class _SubRun(ProcessStepType):
    """Starts a run in the transaction that records the step, so there is exactly one for each attempt."""

    inline = True

    def request(self, step: ProcessStep, scope: Scope) -> dict[str, Any]:
        """What the other run is started with."""
        raise NotImplementedError

    def draft(self, step: ProcessStep, scope: Scope) -> EffectDraft:
        """The run as it would be started."""
        given = self.request(step, scope)
        facts = {"fields": sorted(given.get("parameters", {}))[:100], "wait": step.config["wait"]}
        return EffectDraft(self.type.rpartition(".")[2], step.config["flow"], given, summary=facts)

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Start it, and wait for its end if the step says so."""
        draft = self.draft(step, scope)
        prior = find_prior(context.run, context.path, draft)
        if prior.confirmed is not None:
            return repeat_outcome(context, draft, prior.confirmed)
        flow = get_flow_by_slug(step.config["flow"])
        request = StartRequest(
            flow_id=flow.id,
            environment=get_environment_slug(context.run.environment_id),
            trigger=RunTrigger.PROCESS,
            parent_id=context.run.id,
            parent_step=context.step_id,
            **draft.payload,
        )
        _ensure_not_too_deep(context.run.id)

        def commit() -> None:
            try:
                child = start_run(request, actor=Actor.system(f"process {context.run.flow_name}"))
            except RunAlreadyActive as error:
                raise SubRunBusy(f"{flow.name} is running already.") from error
            result = None if step.config["wait"] else output
            record_effect(context, draft, result=result, reference=str(child.pk), prior=prior)

        output = {"flow": flow.slug}
        if not step.config["wait"]:
            return StepOutcome(output=output, detail=f"Started {flow.name}.", commit=commit)
        return StepOutcome(detail=f"Waits for {flow.name}.", commit=commit, wait=Wait("run", {"flow": flow.name}))

    def wake(self, step: ParkedStep) -> StepOutcome | None:
        """The other run's outcome, once it has ended."""
        child: Run | None = Run.objects.filter(parent_step=step.step_id).order_by("-id").first()
        if child is None or child.status in ACTIVE_RUN_STATUSES:
            return None
        facts = {"run_id": str(child.pk), "status": str(child.status)}
        if child.status != RunStatus.SUCCEEDED:
            error = child.error or {}
            message = error.get("message") or f"It was {child.status}."
            settle_effect(step.step_id, None)
            raise SubRunFailed(f"{child.flow_name}: {message}", sub_run=str(child.pk), remedy=error.get("remedy"))
        counters = ("rows_read", "rows_accepted", "rows_quarantined", "rows_written")
        output = {**facts, **{name: getattr(child, name) for name in counters}}
        if child.result is not None:
            output = {**child.result}
        return StepOutcome(output=output, commit=lambda: settle_effect(step.step_id, output))

    def drop(self, step: ParkedStep) -> None:
        """Nobody waits any more: the other run is asked to stop."""
        child = Run.objects.filter(parent_step=step.step_id, status__in=ACTIVE_RUN_STATUSES).first()
        if child is not None:
            cancel_run(child.pk, actor=Actor.system(f"process {step.run.flow_name}"))
            settle_effect(step.step_id, None)


class RunLoad(_SubRun):
    """Runs a load flow."""

    type = "process.load"

    def request(self, step: ProcessStep, scope: Scope) -> dict[str, Any]:
        """Load mode and start of the range."""
        since = step.config["since"]
        return {
            "mode": step.config["mode"],
            "since": None if since is None else str(scope.evaluate({"since": since})["since"]),
        }


class RunFlow(_SubRun):
    """Runs another process; its result becomes this step's output."""

    type = "process.flow"

    def request(self, step: ProcessStep, scope: Scope) -> dict[str, Any]:
        """The other process's input."""
        return {"parameters": scope.evaluate(step.config["input"])}


def _ensure_not_too_deep(run_id: UUID) -> None:
    """A process that starts itself must end somewhere."""
    depth, current = 0, Run.objects.filter(pk=run_id).values_list("parent_id", flat=True).first()
    while current is not None and depth < DEEPEST:
        depth += 1
        current = Run.objects.filter(pk=current).values_list("parent_id", flat=True).first()
    if depth >= DEEPEST:
        raise SubRunFailed(f"Runs start runs more than {DEEPEST} deep.", remedy="Look for a process that runs itself.")
