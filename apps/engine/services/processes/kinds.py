"""Every kind of process step, as the registry takes them."""

from __future__ import annotations

from apps.engine.services.processes import decisions, handlers, mails, quick, subruns, systems, tasks, waits
from apps.engine.services.processes.steps import ProcessStepType

PROCESS_STEPS: tuple[ProcessStepType, ...] = (
    quick.Transform(),
    quick.Branch(),
    quick.Parallel(),
    quick.ForEach(),
    quick.While(),
    quick.Check(),
    quick.Join(),
    quick.Raise(),
    quick.Return(),
    quick.Output(),
    quick.Publish(),
    decisions.Decide(),
    subruns.RunLoad(),
    subruns.RunFlow(),
    waits.Delay(),
    waits.Until(),
    waits.Workday(),
    waits.WaitForEvent(),
    tasks.AskPeople(),
    handlers.CallHandler(),
    mails.SendMail(),
    systems.ReadRows(),
    systems.QueryRows(),
    systems.WriteRows(),
)
