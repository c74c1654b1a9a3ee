"""What a restart would do to other systems: asked of the ledger, before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.core.exceptions import PortalError
from apps.engine.choices import EffectOutcome, EffectVerdict
from apps.engine.contracts import ResourceBag, canonical_hash
from apps.engine.models import Effect, Run
from apps.engine.registries import step_types
from apps.engine.selectors import get_run
from apps.engine.services.effects import find_in_chain
from apps.engine.services.processes.keeping import is_kept
from apps.engine.services.processes.scopes import Scope
from apps.engine.services.processes.steps import ProcessStepType
from apps.engine.services.processes.walking import CHECK, END, UNDO, step_id_of
from apps.engine.services.restart_plans import RestartPlan, RestartRequest, plan_restart
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.services.processes import expressions_of, references_of

SHOWN_MOST = 500
REASONS = {
    EffectVerdict.REPEATED: "Other data are sent than before, so it happens under a new key.",
    EffectVerdict.DEDUPLICATED: "The same has happened already, so it is not sent again.",
    EffectVerdict.ASKED: "It may have happened, and the system honours no keys: somebody will be asked.",
    EffectVerdict.AT_RUN_TIME: "What is sent depends on steps that are done again. The same does not happen twice.",
}
UNDONE = "It was undone, so it happens anew."
REFUSED = "It did not happen before."
SAME_KEY = "It may have happened; sent again under the same key, which the system takes once."


@dataclass(frozen=True)
class EffectForecast:
    """One known effect of a step that is done again.

    Attributes:
        effect: its entry in the ledger, of this run or another of the chain.
        name: of the step.
        verdict: what becomes of it, unless it is wanted once more.
        reason: a sentence for people.
    """

    effect: Effect
    name: str
    verdict: EffectVerdict
    reason: str


@dataclass(frozen=True)
class RestartPreview:
    """What a restart would do.

    Attributes:
        path: where it begins.
        parameters: the input it would have.
        kept, redone: numbers of steps of the old run.
        effects: forecasts, at most 500; `more` are not shown.
        hash: to be sent back with the restart, so that it does what was shown.
    """

    path: str
    parameters: dict[str, Any]
    kept: int
    redone: int
    effects: tuple[EffectForecast, ...]
    more: int
    hash: str


def preview_restart(request: RestartRequest, *, actor: Actor) -> RestartPreview:
    """What restarting a run from a step would do to other systems; nothing is changed.

    Args:
        request: the restart; `again` makes no difference here.
        actor: needs `run:start`.

    Raises:
        PermissionDenied, RunNotFound: as named.
        RunNotControllable, RestartNotPossible, ProcessInputInvalid: see `plan_restart`.
    """
    check_permission(actor, "run:start")
    old = get_run(request.run_id)
    return build_preview(old, request, plan_restart(old, request))


def build_preview(old: Run, request: RestartRequest, plan: RestartPlan) -> RestartPreview:
    """The preview of a plan."""
    entries = list(_entries(plan, request.path))
    resources = ResourceBag()
    try:
        forecasts = tuple(_forecast(plan, effect, resources) for effect in entries[:SHOWN_MOST])
    finally:
        resources.close()
    seen = [[str(one.pk), str(one.outcome), one.undone_at is not None] for one in entries]
    verdicts = [str(one.verdict) for one in forecasts]
    edits = [dict(plan.facts.parameters), {path: dict(output) for path, output in request.outputs.items()}]
    return RestartPreview(
        path=request.path,
        parameters=dict(plan.facts.parameters),
        kept=len(plan.steps),
        redone=plan.redone,
        effects=forecasts,
        more=len(entries) - len(forecasts),
        hash=canonical_hash([str(old.pk), request.path, edits, seen, verdicts]),
    )


def _entries(plan: RestartPlan, start: str) -> Iterator[Effect]:
    """For each path that is done again the entry of the chain that counts: one that stands, else the newest."""
    by_path: dict[str, list[Effect]] = {}
    for effect in Effect.objects.filter(origin=plan.facts.first_id).order_by("id"):
        if not effect.path.startswith(UNDO) and not is_kept(plan.definition, start, effect.path):
            by_path.setdefault(effect.path, []).append(effect)
    for entries in by_path.values():
        standing = [one for one in entries if one.outcome == EffectOutcome.CONFIRMED and one.undone_at is None]
        yield (standing or entries)[-1]


def _forecast(plan: RestartPlan, effect: Effect, resources: ResourceBag) -> EffectForecast:
    step = plan.definition.by_id[step_id_of(effect.path)]

    def said(verdict: EffectVerdict, reason: str = "") -> EffectForecast:
        return EffectForecast(effect, step.title, verdict, reason or REASONS[verdict])

    if effect.undone_at is not None:
        return said(EffectVerdict.REPEATED, UNDONE)
    if effect.outcome == EffectOutcome.REFUSED:
        return said(EffectVerdict.REPEATED, REFUSED)
    payload_hash = _payload_hash(plan, step, effect.path, resources)
    if payload_hash is None:
        return said(EffectVerdict.AT_RUN_TIME)
    known = find_in_chain(plan.facts.first_id, effect.path, payload_hash)
    if known is None:
        return said(EffectVerdict.REPEATED)
    if known.outcome == EffectOutcome.CONFIRMED:
        return said(EffectVerdict.DEDUPLICATED)
    return said(EffectVerdict.DEDUPLICATED, SAME_KEY) if known.repeatable else said(EffectVerdict.ASKED)


def _payload_hash(plan: RestartPlan, step: ProcessStep, path: str, resources: ResourceBag) -> str | None:
    """Hash of what the step would send, if that is known already."""
    step_type = step_types.get(f"process.{step.kind}")
    if not isinstance(step_type, ProcessStepType) or step.skip_if is not None:
        return None
    scope = Scope(plan.facts, path, plan.outputs, resources)
    if not all(_is_known(scope, root, part) for _, text in expressions_of(step) for root, part in references_of(text)):
        return None
    try:
        draft = step_type.draft(step, scope)
    except PortalError:
        return None  # the step will say so itself
    return None if draft is None else draft.payload_hash


def _is_known(scope: Scope, root: str, part: str) -> bool:
    """Whether a name means now what it will mean when the step is done again."""
    place = scope.place

    def kept(path: str) -> bool:
        return path in scope.outputs and (f"{path}{END}" in scope.outputs or not _opens(scope, path))

    if root in ("input", "var", "index"):
        return True
    if root == "run":
        return part == "flow"
    if root == "steps":
        return all(kept(path) for id_, path in place.visible.items() if part in ("", id_))
    if root == "error":
        return place.failed is not None and place.failed in scope.outputs
    if place.loop is None:
        return False
    _, path, index = place.loop
    return (path if root == "item" else f"{path}[{index}]{CHECK}") in scope.outputs


def _opens(scope: Scope, path: str) -> bool:
    return bool(scope.definition.by_id[step_id_of(path)].bodies)
