"""Log lines, events, audit-free facts and hints of a run, written under the run's lock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F

from apps.core.exceptions import PortalError
from apps.core.services.hints import send_hint
from apps.engine.events import RUN_SLA_MISSED, RunChanged, RunSlaMissed
from apps.engine.models import Run, RunLog
from apps.events.services.outbox import publish_event
from apps.tenancy.services.context import require_tenant
from apps.tenancy.services.rows import Statements

MESSAGE_CHARS = 2000
HINT_EVERY_S = 0.3
HINTED_KEPT = 1000
_hinted: dict[UUID, float] = {}
Line = tuple[str, str, dict[str, Any]]


def write_lines(run: Run, lines: Sequence[Line], *, into: Statements | None = None) -> None:
    """Append lines `(level, message, facts)`; the caller holds the run's row lock and saves `log_seq`."""
    rows = []
    for level, message, facts in lines:
        run.log_seq += 1
        rows.append(RunLog(run_id=run.pk, seq=run.log_seq, level=level, message=message[:MESSAGE_CHARS], facts=facts))
    statements = Statements() if into is None else into
    statements.insert(rows, leave_out=("id", "at"))
    if into is None:
        statements.send()


def append_lines(run_id: UUID, lines: Sequence[Line]) -> None:
    """Append lines to a run's log from anywhere; takes the run's lock for one statement."""
    if not lines:
        return
    Run.objects.filter(pk=run_id).update(log_seq=F("log_seq") + len(lines))
    last = Run.objects.values_list("log_seq", flat=True).get(pk=run_id)
    first = last - len(lines) + 1
    RunLog.objects.bulk_create(
        [
            RunLog(run_id=run_id, seq=first + index, level=level, message=message[:MESSAGE_CHARS], facts=facts)
            for index, (level, message, facts) in enumerate(lines)
        ]
    )


def publish_run(run: Run, type_: str, *, into: Statements) -> None:
    """Publish a run event in the caller's transaction, with its other statements."""
    error = run.error or {}
    publish_event(
        type_,
        subject=f"run/{run.pk}",
        key=str(run.flow_id),
        data=RunChanged(
            run_id=run.pk,
            flow_id=run.flow_id,
            flow_name=run.flow_name,
            version=run.version_number,
            environment_id=run.environment_id,
            kind=str(run.kind),
            mode=str(run.mode),
            status=str(run.status),
            rows_read=run.rows_read,
            rows_written=run.rows_written,
            rows_quarantined=run.rows_quarantined,
            error_code=error.get("code"),
            error=error.get("message"),
        ),
        into=into,
    )


def note_missed_sla(run: Run, now: datetime) -> bool:
    """Mark a run that is past its deadline and publish that; the caller holds its lock and saves it.

    Returns:
        Whether it was marked now.
    """
    if run.sla_due_at is None or run.sla_missed_at is not None or now <= run.sla_due_at:
        return False
    run.sla_missed_at = now
    write_lines(run, [("warning", f"The run was to be finished by {run.sla_due_at:%Y-%m-%d %H:%M:%S} UTC.", {})])
    publish_event(
        RUN_SLA_MISSED,
        subject=f"run/{run.pk}",
        key=str(run.flow_id),
        data=RunSlaMissed(
            run_id=run.pk,
            flow_id=run.flow_id,
            flow_name=run.flow_name,
            version=run.version_number,
            environment_id=run.environment_id,
            kind=str(run.kind),
            status=str(run.status),
            due_at=run.sla_due_at,
            requested_at=run.created_at,
            started_at=run.started_at,
        ),
    )
    return True


def hint_run(run: Run, *, urgent: bool = True) -> None:
    """Tell browsers that the run changed; what is not urgent waits for a hint of the last moments to do for it, too."""
    now = time.monotonic()
    if not urgent and now - _hinted.get(run.pk, 0.0) < HINT_EVERY_S:
        return
    if len(_hinted) > HINTED_KEPT:
        _hinted.clear()
    _hinted[run.pk] = now
    send_hint(require_tenant().id, "run", run.pk, status=run.status, flow=str(run.flow_id))


def error_to_json(error: PortalError, *, step: str | None = None) -> dict[str, Any]:
    """An error as stored with a step or run: code, message, remedy, and where."""
    document: dict[str, Any] = {"code": error.code, "message": error.message, "remedy": error.remedy}
    if error.field is not None:
        document["field"] = error.field
    if error.problems:
        document["problems"] = [problem.to_json() for problem in error.problems]
    if step is not None:
        document["step"] = step
    return document
