"""Events of the engine: types and payloads."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

RUN_STARTED = "run.started.v1"
RUN_COMPLETED = "run.completed.v1"
RUN_FAILED = "run.failed.v1"
RUN_CANCELLED = "run.cancelled.v1"

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
