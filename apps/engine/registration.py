"""What the engine tells the registries at start-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from apps.access.registries import register_permissions
from apps.engine import events
from apps.engine.registries import programs, step_types
from apps.engine.selectors import last_runs
from apps.engine.services.loads.checkpoints import CheckpointLoad
from apps.engine.services.loads.finishing import FinishLoad
from apps.engine.services.loads.opening import OpenLoad
from apps.engine.services.loads.parts import LoadPart
from apps.engine.services.loads.programs import LoadProgram, ReplayProgram
from apps.engine.services.loads.pushdown import PushdownLoad
from apps.engine.services.loads.reconciling import ReconcileLoad
from apps.engine.services.processes.kinds import PROCESS_STEPS
from apps.engine.services.processes.programs import ProcessProgram
from apps.events.contracts import EventType, LiveKind
from apps.events.registries import event_types, live_kinds
from apps.integrations.registries import FlowFacts, flow_facts


class LastRunFacts(FlowFacts):
    """`last_run` in the flows list."""

    type = "engine.last_run"
    names = ("last_run",)

    def facts_for(self, flow_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
        """The newest run of each flow, in one query."""
        return {
            flow_id: {
                "last_run": {
                    "id": str(run.id),
                    "status": run.status,
                    "environment": run.environment,
                    "created_at": run.created_at.isoformat(),
                    "ended_at": run.ended_at.isoformat() if run.ended_at else None,
                }
            }
            for flow_id, run in last_runs(flow_ids).items()
        }


register_permissions(
    [
        ("run:view", "See runs, their stages and logs"),
        ("run:start", "Start and retry runs"),
        ("run:control", "Cancel and resume runs"),
        ("task:view", "See tasks for people and their answers"),
        ("task:answer", "Claim, answer and delegate tasks"),
    ]
)
for _type, _sentence in (
    (events.RUN_STARTED, "A run began to work."),
    (events.RUN_COMPLETED, "A run ended well."),
    (events.RUN_FAILED, "A run failed."),
    (events.RUN_CANCELLED, "A run was cancelled."),
):
    event_types.register(EventType(_type, events.RunChanged, _sentence))
for _type, _sentence in (
    (events.TASK_CREATED, "A process asks people."),
    (events.TASK_ANSWERED, "Somebody answered a task; its status says whether it is complete."),
    (events.TASK_EXPIRED, "A task was not completed before its deadline."),
):
    event_types.register(EventType(_type, events.TaskChanged, _sentence))
event_types.register(EventType(events.RUN_SLA_MISSED, events.RunSlaMissed, "A run was not finished when it had to be."))
live_kinds.register(LiveKind("run", "run:view"))
live_kinds.register(LiveKind("task", "task:view"))
live_kinds.register(LiveKind("trigger", "flow:view"))
event_types.register(
    EventType(events.PROCESS_MESSAGE, events.ProcessMessage, "A step of a process published a message.")
)
for program in (LoadProgram(), ReplayProgram(), ProcessProgram()):
    programs.register(program)
for step_type in (OpenLoad(), LoadPart(), PushdownLoad(), FinishLoad(), ReconcileLoad(), CheckpointLoad()):
    step_types.register(step_type)
for process_step in PROCESS_STEPS:
    step_types.register(process_step)
flow_facts.register(LastRunFacts())
