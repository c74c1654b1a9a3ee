"""Events of the engine: types and payloads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

RUN_STARTED = "run.started.v1"
RUN_COMPLETED = "run.completed.v1"
RUN_FAILED = "run.failed.v1"
RUN_CANCELLED = "run.cancelled.v1"
RUN_SLA_MISSED = "run.sla_missed.v1"
PROCESS_MESSAGE = "process.message.v1"
TASK_CREATED = "task.created.v1"
TASK_ANSWERED = "task.answered.v1"
TASK_EXPIRED = "task.expired.v1"

ALL_TYPES = (RUN_STARTED, RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED)


@dataclass(frozen=True)
class RunChanged:
    """A run reached a state. `version` is None for a draft; `error_code` and `error` only when it failed."""

    run_id: UUID
    flow_id: UUID
    flow_name: str
    version: int | None
    environment_id: UUID
    kind: str
    mode: str
    status: str
    rows_read: int
    rows_written: int
    rows_quarantined: int
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class RunSlaMissed:
    """A run was not finished when it had to be; `started_at` is None while it waits in the queue."""

    run_id: UUID
    flow_id: UUID
    flow_name: str
    version: int | None
    environment_id: UUID
    kind: str
    status: str
    due_at: datetime
    requested_at: datetime
    started_at: datetime | None = None


@dataclass(frozen=True)
class ProcessMessage:
    """What a step of a process published. `correlation` tells which of the waiting runs are meant; None means all."""

    name: str
    correlation: str | None
    data: dict[str, Any]
    run_id: UUID
    flow_id: UUID
    path: str


@dataclass(frozen=True)
class TaskChanged:
    """A task for people was made, answered once more, or not answered in time. `status` says whether it is complete."""

    task_id: UUID
    run_id: UUID
    flow_id: UUID
    path: str
    title: str
    status: str
    answers: int
    required: int
    due_at: datetime | None = None
