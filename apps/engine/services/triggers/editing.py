"""Triggers as people keep them: create, change, pause, resume, delete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.exceptions import Problem
from apps.core.services.hints import send_hint
from apps.engine.choices import CatchUp, TriggerKind, TriggerStatus
from apps.engine.exceptions import TriggerInvalid, TriggerNameTaken, TriggerNotFound, TriggerStateConflict
from apps.engine.models import PollState, Trigger
from apps.engine.services.triggers.cron import Schedule, check_schedule
from apps.engine.services.triggers.inputs import COLUMNS, MAPPING_MOST
from apps.engine.services.triggers.polls import POLL_NAMES, fence_poll, find_poll_problems, next_poll, reset_poll
from apps.events.exceptions import SubscriptionInvalid
from apps.events.selectors import get_head_position
from apps.events.services.matching import Matcher, check_matcher
from apps.expressions.services.checking import check_expression
from apps.integrations.exceptions import FlowArchived
from apps.integrations.selectors import get_environment, get_flow
from apps.tenancy.services.context import require_tenant

EDIT = "flow:deploy"
TRIGGERS_MOST = 500
CATCH_UP_MOST = 100
INPUT_MOST_BYTES = 64 * 1024
SHARED = ("name", "parameters", "mapping")
OF_SCHEDULES = ("cron", "zone", "calendar", "catch_up", "catch_up_limit")
OF_EVENTS = ("types", "filter")
OF_POLLS = ("every_s", "cron", "zone", "calendar", "poll")
OWN = {TriggerKind.SCHEDULE: OF_SCHEDULES, TriggerKind.EVENT: OF_EVENTS, TriggerKind.POLL: OF_POLLS}


@transaction.atomic
def create_trigger(flow_id: UUID, environment: str, *, kind: str, actor: Actor, **settings: Any) -> Trigger:
    """Let a schedule or a kind of event start the flow's deployed version, from now on.

    Args:
        flow_id, environment: what is started where; the version that is deployed there when it fires.
        kind: `schedule`, `event` or `poll`.
        actor: needs `flow:deploy`; for a poll also `connection:use`, because its runs get rows of the system.
        settings: name, parameters, mapping; for a schedule cron, zone, calendar, catch_up, catch_up_limit; for an event
            types (patterns, `run.*`) and filter; for a poll every_s or cron, zone, calendar, and poll (`PollSettings`).

    Raises:
        PermissionDenied, FlowNotFound, EnvironmentNotFound, FlowArchived: as named.
        TriggerInvalid: with every problem.
        TriggerNameTaken: the flow has one of this name there.
    """
    check_permission(actor, EDIT)
    flow, place = get_flow(flow_id), get_environment(environment)
    if flow.archived:
        raise FlowArchived(f"{flow.name} is archived.", value=str(flow.id))
    if Trigger.objects.count() >= TRIGGERS_MOST:
        raise TriggerInvalid(f"An organisation has at most {TRIGGERS_MOST} triggers.", field="name")
    row = Trigger(flow_id=flow.id, environment_id=place.id, kind=kind, created_by_name=actor.name)
    _check_use(row, actor)
    _apply(row, settings)
    _begin(row)
    _save(row, new=True)
    if row.kind == TriggerKind.POLL:
        PollState.objects.create(trigger=row)
    _record(row, "created", f"Created the trigger {row.name} of {flow.name}.", actor, _facts(row))
    return row


@transaction.atomic
def update_trigger(trigger_id: UUID, *, actor: Actor, **changes: Any) -> Trigger:
    """Change a trigger; a changed schedule counts from now on, firings that wait keep their input.

    Raises:
        PermissionDenied, TriggerNotFound, TriggerInvalid, TriggerNameTaken: as named.
    """
    row = _lock(trigger_id, actor)
    _check_use(row, actor)
    before, poll = _when(row), dict(row.poll)
    _apply(row, changes)
    if row.poll != poll:
        reset_poll(row, poll)
    if row.status == TriggerStatus.ACTIVE and (before != _when(row) or row.poll != poll):
        _begin(row)
    _save(row)
    _record(row, "changed", f"Changed the trigger {row.name}.", actor, {**_facts(row), "changed": sorted(changes)})
    return row


@transaction.atomic
def pause_trigger(trigger_id: UUID, *, actor: Actor, reason: str = "") -> Trigger:
    """Fire no more for now; what would have fired meanwhile is not made up for.

    Raises:
        PermissionDenied, TriggerNotFound: as named.
        TriggerStateConflict: it is paused.
    """
    row = _lock(trigger_id, actor)
    if row.status == TriggerStatus.PAUSED:
        raise TriggerStateConflict("The trigger is paused already.")
    row.status, row.status_reason, row.next_due_at = TriggerStatus.PAUSED, reason.strip()[:200], None
    fence_poll(row)
    _save(row)
    _record(row, "paused", f"Paused the trigger {row.name}.", actor, {"reason": row.status_reason})
    return row


@transaction.atomic
def resume_trigger(trigger_id: UUID, *, actor: Actor) -> Trigger:
    """Fire again, from now on.

    Raises:
        PermissionDenied, TriggerNotFound, FlowArchived: as named.
        TriggerStateConflict: it is active.
        TriggerInvalid: its calendar is gone, say.
    """
    row = _lock(trigger_id, actor)
    if row.status == TriggerStatus.ACTIVE:
        raise TriggerStateConflict("The trigger is active already.")
    flow = get_flow(row.flow_id)
    if flow.archived:
        raise FlowArchived(f"{flow.name} is archived.", value=str(flow.id))
    _check_use(row, actor)
    row.status, row.status_reason, row.last_error = TriggerStatus.ACTIVE, "", None
    _apply(row, {})
    _begin(row)
    _save(row)
    _record(row, "resumed", f"Resumed the trigger {row.name}.", actor)
    return row


@transaction.atomic
def delete_trigger(trigger_id: UUID, *, actor: Actor) -> None:
    """Remove a trigger with the record of its firings; its runs and the audit trail stay.

    Raises:
        PermissionDenied, TriggerNotFound: as named.
    """
    row = _lock(trigger_id, actor)
    _record(row, "deleted", f"Deleted the trigger {row.name}.", actor, _facts(row))
    row.delete()


def check_trigger(kind: str, settings: Mapping[str, Any], *, actor: Actor, environment: str = "") -> list[Problem]:
    """Everything that would be refused of a trigger of this kind, without making it.

    Args:
        kind: as in `create_trigger`.
        settings: as in `create_trigger`; what is left out has its default.
        actor: as in `create_trigger`.
        environment: where a poll finds its connection; not looked for without one.

    Raises:
        PermissionDenied: the actor may not keep such triggers.
        EnvironmentNotFound: there is none of that name.
    """
    check_permission(actor, EDIT)
    row = Trigger(kind=kind)
    if environment:
        row.environment_id = get_environment(environment).id
    _check_use(row, actor)
    try:
        _apply(row, settings)
    except TriggerInvalid as error:
        return list(error.problems)
    return []


def schedule_of(row: Trigger) -> Schedule:
    """When a trigger of kind `schedule` fires, or one of kind `poll` without an interval looks."""
    return Schedule(row.cron, row.zone, row.calendar)


def database_now() -> datetime:
    """The database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found


def _begin(row: Trigger) -> None:
    if row.kind == TriggerKind.SCHEDULE:
        row.next_due_at = schedule_of(row).next_after(database_now())
    elif row.kind == TriggerKind.POLL:
        now = database_now()
        row.next_due_at = now if row.every_s else next_poll(row, now)
    else:
        row.start_position = get_head_position()


def _apply(row: Trigger, settings: Mapping[str, Any]) -> None:
    own = OWN.get(TriggerKind(row.kind), ()) if row.kind in TriggerKind.values else ()
    problems: list[Problem] = []
    for field, value in settings.items():
        if field == "poll" and field in own:
            row.poll = {**row.poll, **{name: value[name] for name in POLL_NAMES if name in value}}
        elif field in (*SHARED, *own):
            setattr(row, field, value.strip() if isinstance(value, str) else value)
        else:
            message = f"A trigger of kind {row.kind} has no {field}."
            problems.append(Problem(field, "engine.trigger.setting", message))
    problems += _problems_of(row)
    if problems:
        raise TriggerInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _problems_of(row: Trigger) -> list[Problem]:
    problems: list[Problem] = []
    if not row.name or len(row.name) > 100:
        problems.append(Problem("name", "engine.trigger.name", "A trigger needs a name of at most 100 characters."))
    if row.kind == TriggerKind.SCHEDULE:
        problems += check_schedule(schedule_of(row))
        if row.catch_up not in CatchUp.values:
            problems.append(Problem("catch_up", "engine.trigger.catch_up", "Choose skip, once or all."))
        if not 1 <= row.catch_up_limit <= CATCH_UP_MOST:
            message = f"Give a number from 1 to {CATCH_UP_MOST}."
            problems.append(Problem("catch_up_limit", "engine.trigger.catch_up", message))
    elif row.kind == TriggerKind.EVENT:
        try:
            check_matcher(matcher_of(row))
        except SubscriptionInvalid as error:
            problems += error.problems
    elif row.kind == TriggerKind.POLL:
        problems += find_poll_problems(row)
    else:
        problems.append(Problem("kind", "engine.trigger.kind", "A trigger is a schedule, an event or a poll."))
    return problems + _input_problems(row)


def _input_problems(row: Trigger) -> list[Problem]:
    problems: list[Problem] = []
    if len(json.dumps([row.parameters, row.mapping]).encode()) > INPUT_MOST_BYTES or len(row.mapping) > MAPPING_MOST:
        problems.append(Problem("parameters", "engine.trigger.input", "The input is too large."))
    if row.kind not in TriggerKind.values:
        return problems
    columns = COLUMNS[TriggerKind(row.kind)]
    for name, source in row.mapping.items():
        if not isinstance(source, str):
            problems.append(Problem(f"mapping.{name}", "engine.trigger.input", "Give an expression."))
            continue
        problems += [
            Problem(f"mapping.{name}", found.code, found.message, found.severity, found.start, found.end, found.hint)
            for found in check_expression(source, columns).problems
            if found.severity == "error"
        ]
    return problems


def matcher_of(row: Trigger) -> Matcher:
    """Which events a trigger of kind `event` wants."""
    return Matcher(tuple(row.types), row.filter, ordered=False)


def _lock(trigger_id: UUID, actor: Actor) -> Trigger:
    check_permission(actor, EDIT)
    row: Trigger | None = Trigger.objects.select_for_update().filter(pk=trigger_id).first()
    if row is None:
        raise TriggerNotFound(value=str(trigger_id))
    return row


def _save(row: Trigger, *, new: bool = False) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=new)
    except IntegrityError as error:
        if "engine_trigger_name" in str(error):
            raise TriggerNameTaken(field="name", value=row.name) from error
        raise


def _when(row: Trigger) -> tuple[Any, ...]:
    return (row.cron, row.zone, row.calendar, row.every_s)


def _check_use(row: Trigger, actor: Actor) -> None:
    """Whoever keeps a poll lets its runs see rows of the system."""
    if row.kind == TriggerKind.POLL:
        check_permission(actor, "connection:use")


def _facts(row: Trigger) -> dict[str, Any]:
    when: dict[str, Any] = {"cron": row.cron, "zone": row.zone}
    if row.kind == TriggerKind.EVENT:
        when = {"types": list(row.types)}
    elif row.kind == TriggerKind.POLL:
        when |= {"every_s": row.every_s, **row.poll}
    return {"flow_id": str(row.flow_id), "environment_id": str(row.environment_id), "kind": row.kind, **when}


def _record(row: Trigger, verb: str, summary: str, actor: Actor, facts: dict[str, Any] | None = None) -> None:
    record_audit(
        actor=actor,
        action=f"trigger.{verb}",
        target_type="trigger",
        target_id=row.pk,
        summary=summary,
        facts=facts or {},
    )
    send_hint(require_tenant().id, "trigger", row.pk, change=verb)
