"""Starting runs; what is asked of a run afterwards is in `controlling`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.engine.choices import ACTIVE_RUN_STATUSES, RunKind, RunMode, RunTrigger
from apps.engine.contracts import canonical_hash
from apps.engine.exceptions import (
    DraftNotHere,
    IdempotencyConflict,
    ModeNotPossible,
    RunAlreadyActive,
    TenantBusy,
)
from apps.engine.models import Run, StepResult
from apps.engine.services.admission import lock_demand
from apps.engine.services.advancing import begin
from apps.engine.services.definitions import parse_definition, pin_definition
from apps.engine.services.journal import hint_run
from apps.engine.services.limits import engine_limits
from apps.engine.services.processes.scopes import check_input
from apps.engine.services.slas import find_deadline
from apps.integrations.contracts import Definition, FlowDefinition, FlowRef
from apps.integrations.exceptions import FlowArchived, FlowPaused
from apps.integrations.process_contracts import ProcessDefinition
from apps.integrations.selectors import (
    find_startable,
    get_deployed_version,
    get_environment,
    get_flow,
    get_version,
)
from apps.integrations.shape import is_process
from apps.tenancy.services.rows import Statements

CURSOR_MODES = (RunMode.INCREMENTAL,)
DRAFT = "draft"
DRAFT_ENVIRONMENT = "dev"


@dataclass(frozen=True)
class StartRequest:
    """What to run.

    Attributes:
        flow_id, environment: flow and environment slug.
        version: number of a published version, `draft` (dev only), or None for the deployed one.
        mode: overrides the flow's own load mode.
        since: ISO 8601 time or plain cursor value; an incremental run starts there instead of at its stored cursor.
        parameters: small JSON object, kept with the run.
        idempotency_key: a repeated request with the same key gets the first one's run.
        trigger: what asked.
        exclusive: refuse while another run of the load is active in the environment; processes run side by side.
        due_at: moment that a trigger fires for; a deadline is measured from it, else from now.
        parent_id, parent_step: the run and step attempt that ask, if one does.
    """

    flow_id: UUID
    environment: str
    version: int | str | None = None
    mode: str | None = None
    since: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    trigger: str = RunTrigger.MANUAL
    exclusive: bool = True
    due_at: datetime | None = None
    parent_id: UUID | None = None
    parent_step: UUID | None = None

    @property
    def request_hash(self) -> str:
        """Identity of the request, to tell a repeat from another request under the same key."""
        return canonical_hash(
            [str(self.flow_id), self.environment, self.version, self.mode, self.since, dict(self.parameters)]
        )


def start_run(request: StartRequest, *, actor: Actor) -> Run:
    """Queue a run of a flow; it is worked on as soon as this transaction commits.

    Args:
        request: what to run.
        actor: needs `run:start`.

    Returns:
        The new run, or the one that was started before under the same idempotency key.

    Raises:
        PermissionDenied, FlowNotFound, VersionNotFound, EnvironmentNotFound, NotDeployed: as named.
        FlowPaused: nothing starts a run of the flow at present.
        RunAlreadyActive: this flow is active in this environment.
        IdempotencyConflict: the key was used for another request.
        ModeNotPossible: an incremental run of a flow without a cursor.
        TenantBusy: the queue is full.
    """
    check_permission(actor, "run:start")
    known = _find_repeat(request)
    if known is not None:
        return known
    pinned = _pin(request)
    definition = pinned.definition
    document, definition_hash = pin_definition(definition, pinned.version_id)
    parameters = dict(request.parameters)
    if isinstance(definition, ProcessDefinition):
        mode = str(RunMode.FULL)
        _refuse_load_settings(request)
        parameters = check_input(definition, parameters)
    else:
        mode = request.mode or definition.load.mode
        _check_mode(mode, definition, request)
    process = isinstance(definition, ProcessDefinition)
    run = Run(
        flow_id=request.flow_id,
        flow_version_id=pinned.version_id,
        environment_id=pinned.environment_id,
        flow_name=pinned.flow_name,
        version_number=pinned.number,
        kind=RunKind.PROCESS if process else RunKind.LOAD,
        mode=mode,
        trigger=request.trigger,
        definition=document,
        definition_hash=definition_hash,
        parameters=parameters,
        since=request.since or "",
        idempotency_key=request.idempotency_key or None,
        request_hash=request.request_hash,
        exclusive=request.exclusive and not process,
        concurrency=definition.concurrency if isinstance(definition, ProcessDefinition) else None,
        parent_id=request.parent_id,
        parent_step=request.parent_step,
    )
    return launch_run(run, actor=actor, due_at=request.due_at)


def launch_run(
    run: Run,
    *,
    actor: Actor,
    summary: str = "",
    facts: Mapping[str, Any] | None = None,
    inherited: Sequence[StepResult] = (),
    due_at: datetime | None = None,
) -> Run:
    """Save a new run, its audit entry and its first steps in one transaction, and ring for it.

    Args:
        run: not saved yet.
        actor: who asks; the caller has checked what they may.
        summary, facts: for the audit entry.
        inherited: rows of steps that it begins with.
        due_at: the moment from which its deadline is measured; now when it is not given.

    Raises:
        RunAlreadyActive, TenantBusy: see `start_run`.
    """
    run.definition_hash = run.definition_hash or canonical_hash(run.definition)
    run.requested_by_kind, run.requested_by_id, run.requested_by_name = actor.kind, actor.id, actor.name
    try:
        with transaction.atomic():
            demand = lock_demand(run)
            if demand.queued >= engine_limits().tenant_queue:
                raise TenantBusy()
            writes = Statements()
            record_audit(
                actor=actor,
                action="run.started",
                target_type="run",
                target_id=run.pk,
                summary=summary or _summary(run),
                facts={
                    "flow_id": str(run.flow_id),
                    "version": run.version_number,
                    "trigger": run.trigger,
                    **(facts or {}),
                },
                into=writes,
            )
            run.sla_due_at = find_deadline(run.flow_id, run.environment_id, due_at or demand.now)
            begin(run, demand, writes, inherited)
            hint_run(run, urgent=False)
    except IntegrityError as error:
        raise explain_conflict(error, run) from error
    return run


def ensure_not_paused(flow: FlowRef) -> None:
    """Refuse to start anything of a paused flow.

    Raises:
        FlowPaused: with the reason that was given.
    """
    if flow.paused:
        why = f": {flow.pause_reason}" if flow.pause_reason else ""
        raise FlowPaused(f"{flow.name} is paused{why}.", value=str(flow.id))


def _summary(run: Run) -> str:
    if run.kind == RunKind.PROCESS:
        return f"Started a run of {run.flow_name}."
    return f"Started a run of {run.flow_name} ({run.mode})."


@dataclass(frozen=True)
class _Pinned:
    """What a request means now; the run keeps it from here on."""

    definition: Definition
    flow_name: str
    environment_id: UUID
    version_id: UUID | None
    number: int | None


def _pin(request: StartRequest) -> _Pinned:
    if request.version is None:
        deployed = find_startable(request.flow_id, request.environment)
        if deployed is not None:
            return _Pinned(
                deployed.definition,
                deployed.flow_name,
                deployed.environment_id,
                deployed.version_id,
                deployed.number,
            )
    # The long way, which also says what is wrong.
    environment = get_environment(request.environment)
    flow = get_flow(request.flow_id)
    if flow.archived:
        raise FlowArchived(value=flow.name)
    ensure_not_paused(flow)
    if request.version == DRAFT:
        if environment.slug != DRAFT_ENVIRONMENT:
            raise DraftNotHere(field="version", value=request.version)
        return _Pinned(_parse_draft(flow), flow.name, environment.id, None, None)
    if isinstance(request.version, int):
        version = get_version(request.flow_id, request.version)
    else:
        version = get_deployed_version(request.flow_id, request.environment)
    return _Pinned(version.definition, flow.name, environment.id, version.id, version.number)


def _parse_draft(flow: FlowRef) -> Definition:
    return ProcessDefinition.from_json(flow.draft) if is_process(flow.draft) else parse_definition(flow.draft)


def _refuse_load_settings(request: StartRequest) -> None:
    for name in ("mode", "since"):
        if getattr(request, name):
            raise ModeNotPossible(f"`{name}` applies to loads only.", field=name, value=getattr(request, name))


def _find_repeat(request: StartRequest) -> Run | None:
    if not request.idempotency_key:
        return None
    known: Run | None = Run.objects.filter(idempotency_key=request.idempotency_key).first()
    if known is not None and known.request_hash != request.request_hash:
        raise IdempotencyConflict(field="idempotency_key", value=request.idempotency_key)
    return known


def _check_mode(mode: str, definition: FlowDefinition, request: StartRequest) -> None:
    if mode not in RunMode.values:
        raise ModeNotPossible(f"There is no load mode {mode!r}.", field="mode", value=mode)
    if mode == RunMode.INCREMENTAL and not definition.load.cursor:
        raise ModeNotPossible(
            "An incremental run needs a cursor column, and the flow names none.",
            field="mode",
            remedy="Choose a cursor in the flow's load settings, or run it in full.",
        )
    if request.since and mode not in CURSOR_MODES:
        raise ModeNotPossible(
            "`since` applies to incremental runs only.",
            field="since",
            value=request.since,
            remedy='Add "mode": "incremental".',
        )
    if request.since:
        _check_since(request.since)


def _check_since(since: str) -> None:
    try:
        datetime.fromisoformat(since)
    except ValueError:
        try:
            float(since)
        except ValueError:
            raise ModeNotPossible(
                f"{since!r} is neither a time nor a number.",
                field="since",
                value=since,
                remedy="Write an ISO 8601 time such as 2026-01-31T00:00:00Z, or a plain number.",
            ) from None


def explain_conflict(error: IntegrityError, run: Run) -> Exception:
    name = getattr(getattr(error.__cause__, "diag", None), "constraint_name", "") or ""
    if name == "engine_one_active_run":
        active = Run.objects.filter(
            flow_id=run.flow_id, environment_id=run.environment_id, status__in=ACTIVE_RUN_STATUSES, exclusive=True
        ).first()
        return RunAlreadyActive(run_id=str(active.pk) if active is not None else None)
    if name == "engine_run_idempotency_key":
        return IdempotencyConflict(
            "Another request with this key is being started at this moment.",
            field="idempotency_key",
            value=run.idempotency_key,
            remedy="Repeat the request; it then returns that run.",
        )
    return error


def audit_run(run: Run, action: str, summary: str, actor: Actor) -> None:
    record_audit(
        actor=actor,
        action=action,
        target_type="run",
        target_id=run.pk,
        summary=summary,
        facts={"flow_id": str(run.flow_id)},
    )
