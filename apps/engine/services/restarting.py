"""Restarting a run from a step: a new run that keeps what had ended before it."""

from __future__ import annotations

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.engine.choices import RunTrigger
from apps.engine.exceptions import PreviewOutdated, RestartNotPossible
from apps.engine.models import Run
from apps.engine.services.advancing import lock_run
from apps.engine.services.restart_plans import RestartRequest, ensure_chain_idle, inherit, plan_restart
from apps.engine.services.restart_previews import build_preview
from apps.engine.services.runs import ensure_not_paused, launch_run
from apps.integrations.selectors import get_flow


def restart_run(request: RestartRequest, *, preview: str, actor: Actor) -> Run:
    """Do a run again from one of its steps, as a new run on the same version.

    Steps that had ended before it in walking order keep what they left; the step and all that comes after it or depends
    on it is done again. An effect that has happened, would be the same and was not undone is not sent again, unless the
    request names its path in `again`.

    Args:
        request: where, and what is different.
        preview: hash of the preview that the actor has seen.
        actor: needs `run:start`.

    Raises:
        PermissionDenied, RunNotFound, FlowPaused, TenantBusy: as named.
        RunAlreadyActive: another restart of the run is active.
        PreviewOutdated: the ledger or the request is not what the preview showed.
        RunNotControllable, RestartNotPossible, ProcessInputInvalid: see `plan_restart`.
    """
    check_permission(actor, "run:start")
    with transaction.atomic():
        old = lock_run(request.run_id)
        ensure_not_paused(get_flow(old.flow_id))
        ensure_chain_idle(old)
        plan = plan_restart(old, request)
        shown = build_preview(old, request, plan)
        if shown.hash != preview:
            raise PreviewOutdated(field="preview")
        strange = sorted(set(request.again) - {one.effect.path for one in shown.effects})
        if strange:
            raise RestartNotPossible(
                f"{strange[0]} has no effect that could be wanted once more.", field="again", value=strange[0]
            )
        run = Run(
            id=plan.facts.id,
            flow_id=old.flow_id,
            flow_version_id=old.flow_version_id,
            environment_id=old.environment_id,
            flow_name=old.flow_name,
            version_number=old.version_number,
            kind=old.kind,
            mode=old.mode,
            trigger=RunTrigger.RESTART,
            definition=old.definition,
            parameters=dict(plan.facts.parameters),
            concurrency=old.concurrency,
            exclusive=old.exclusive,
            restarted_from_id=old.pk,
            restarted_path=request.path,
            origin=plan.facts.origin,
            again=list(request.again),
        )
        summary = f"Restarted a run of {old.flow_name} from {request.path}."[:500]
        facts = {
            "restarted_from": str(old.pk),
            "path": request.path,
            "input_edited": request.parameters is not None and plan.facts.parameters != old.parameters,
            "outputs_edited": sorted(request.outputs)[:100],
            "again": list(request.again)[:100],
        }
        return launch_run(run, actor=actor, summary=summary, facts=facts, inherited=inherit(plan))
