"""When runs must be finished: kept by flow and environment, pinned to a run when it starts, watched until it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from django.db import transaction
from django.db.models.functions import Now

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.exceptions import Problem
from apps.core.services.hints import send_hint
from apps.engine.choices import ACTIVE_RUN_STATUSES, ENDED_RUN_STATUSES
from apps.engine.exceptions import SlaInvalid
from apps.engine.models import Run, Sla
from apps.engine.services.advancing import lock_run
from apps.engine.services.journal import hint_run, note_missed_sla
from apps.integrations.exceptions import FlowArchived
from apps.integrations.selectors import get_environment, get_flow
from apps.tenancy.services.context import require_tenant

log = structlog.get_logger(__name__)

EDIT = "flow:deploy"
WITHIN_MOST_S = 31 * 86_400
ALL_DAYS = (1, 2, 3, 4, 5, 6, 7)
WATCHED_AT_ONCE = 200


@transaction.atomic
def save_sla(
    flow_id: UUID,
    environment: str,
    *,
    actor: Actor,
    within_s: int | None = None,
    by: time | None = None,
    zone: str = "",
    days: Sequence[int] = ALL_DAYS,
) -> Sla:
    """Say when runs of the flow must be finished in an environment; counts for runs that are started from now on.

    Args:
        flow_id, environment: whose runs.
        actor: needs `flow:deploy`.
        within_s: at most so many seconds after the run was asked for (or was due, by its trigger).
        by: by this local time, the next one on one of the days. With both, the earlier moment counts.
        zone: IANA zone of `by`.
        days: 1 = Monday to 7 = Sunday, on which `by` counts.

    Raises:
        PermissionDenied, FlowNotFound, EnvironmentNotFound, FlowArchived: as named.
        SlaInvalid: with every problem.
    """
    check_permission(actor, EDIT)
    flow, place = get_flow(flow_id), get_environment(environment)
    if flow.archived:
        raise FlowArchived(f"{flow.name} is archived.", value=str(flow.id))
    days = tuple(sorted(set(days)))
    problems = _problems(within_s, by, zone, days)
    if problems:
        raise SlaInvalid(problems[0].message, field=problems[0].path, problems=problems)
    values = {"within_s": within_s, "by": by, "zone": zone if by else "", "days": list(days) if by else []}
    row: Sla
    row, _ = Sla.objects.update_or_create(flow_id=flow.id, environment_id=place.id, defaults=values)
    _record(row, "saved", f"Set when runs of {flow.name} must be finished in {place.slug}.", actor, values)
    return row


@transaction.atomic
def remove_sla(flow_id: UUID, environment: str, *, actor: Actor) -> None:
    """Expect nothing of runs of the flow in an environment any more; runs that have begun keep their deadline.

    Removing what is not there changes nothing.

    Raises:
        PermissionDenied, FlowNotFound, EnvironmentNotFound: as named.
    """
    check_permission(actor, EDIT)
    flow, place = get_flow(flow_id), get_environment(environment)
    row = Sla.objects.select_for_update().filter(flow_id=flow.id, environment_id=place.id).first()
    if row is None:
        return
    _record(row, "removed", f"Removed the deadline of runs of {flow.name} in {place.slug}.", actor, {})
    row.delete()


def find_deadline(flow_id: UUID, environment_id: UUID, origin: datetime) -> datetime | None:
    """When a run that was asked for, or due, at `origin` must be finished; None when nobody expects anything."""
    row = Sla.objects.filter(flow_id=flow_id, environment_id=environment_id).first()
    if row is None:
        return None
    moments = []
    if row.within_s is not None:
        moments.append(origin + timedelta(seconds=row.within_s))
    if row.by is not None:
        moments.append(next_local(origin, row.by, row.zone, row.days))
    return min(moments)


def next_local(origin: datetime, by: time, zone: str, days: Sequence[int]) -> datetime:
    """The first moment after `origin` at which clocks of the zone show `by` on one of the days.

    A time that a change of clocks leaves out counts as the same distance after the gap; of one that comes twice the
    first counts.
    """
    place = ZoneInfo(zone)
    start = origin.astimezone(place).date()
    for offset in range(9):
        day = start + timedelta(days=offset)
        moment = datetime.combine(day, by, tzinfo=place).astimezone(UTC)
        if day.isoweekday() in days and moment > origin:
            return moment
    raise ValueError("an SLA has at least one day")


def watch_slas() -> int:
    """Mark and announce the active runs of the entered tenant that are past their deadline, each once.

    Any number of sweepers may do so at once: the mark is set under the run's row lock, with its event.

    Returns:
        Runs marked.
    """
    late = Run.objects.filter(status__in=ACTIVE_RUN_STATUSES, sla_missed_at__isnull=True, sla_due_at__lte=Now())
    marked = 0
    for run_id in late.order_by("sla_due_at").values_list("pk", flat=True)[:WATCHED_AT_ONCE]:
        try:
            with transaction.atomic():
                run = lock_run(run_id)
                if run.status in ENDED_RUN_STATUSES or not note_missed_sla(run, run.db_now):
                    continue
                run.save(update_fields=["sla_missed_at", "log_seq", "updated_at"])
                hint_run(run)
                marked += 1
        except Exception as error:  # one run's fault does not keep the others waiting
            log.exception("sla_not_marked", run=str(run_id), error=str(error))
    return marked


def _problems(within_s: int | None, by: time | None, zone: str, days: Sequence[int]) -> list[Problem]:
    problems: list[Problem] = []
    if within_s is None and by is None:
        problems.append(Problem("within_s", "engine.sla.empty", "Give a duration, a time of day, or both."))
    if within_s is not None and not 1 <= within_s <= WITHIN_MOST_S:
        problems.append(Problem("within_s", "engine.sla.duration", "A duration lies between a second and 31 days."))
    if by is None:
        return problems
    if by.tzinfo is not None or by.microsecond:
        problems.append(Problem("by", "engine.sla.time", "Give a time of day such as 06:00, without a zone."))
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"There is no time zone {zone!r}."
        problems.append(Problem("zone", "engine.sla.zone", message, hint="Use a name such as Europe/Zurich."))
    if not days or not set(days) <= set(ALL_DAYS):
        problems.append(Problem("days", "engine.sla.days", "Name days from 1 (Monday) to 7 (Sunday)."))
    return problems


def _record(row: Sla, verb: str, summary: str, actor: Actor, values: dict[str, Any]) -> None:
    facts = {name: value.isoformat() if isinstance(value, time) else value for name, value in values.items()}
    record_audit(
        actor=actor,
        action=f"sla.{verb}",
        target_type="flow",
        target_id=row.flow_id,
        summary=summary,
        facts={**facts, "environment_id": str(row.environment_id)},
    )
    send_hint(require_tenant().id, "flow", row.flow_id, change=f"sla_{verb}")
