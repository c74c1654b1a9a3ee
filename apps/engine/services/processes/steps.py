"""What every kind of process step shares: the envelope of skip, mock and cache around the step's own work."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from apps.engine.contracts import EffectDraft, StepContext, StepOutcome, StepType, canonical_hash
from apps.engine.models import StepCache
from apps.engine.services.processes.scopes import Scope, ensure_small
from apps.engine.services.processes.walking import FINAL_KEY
from apps.integrations.process_contracts import ProcessStep


class ProcessStepType(StepType):
    """A kind of process step. Subclasses implement `run`; the envelope is here, once."""

    enveloped = True
    """Whether skip, mock and cache apply (not to the engine's own closing and deciding steps)."""

    def execute(self, context: StepContext) -> StepOutcome:
        """See `StepType.execute`."""
        scope = Scope(context.run, context.path, context.outputs, context.resources)
        step = scope.place.step or scope.definition.steps[0]  # the definition's own output belongs to no step
        if not self.enveloped:
            return _bounded(self.run(context, step, scope))
        if step.skip_if is not None and scope.holds(step.skip_if):
            return StepOutcome(output={FINAL_KEY: True}, skipped=True, detail="Skipped by its condition.")
        if step.mock is not None and step.mock["enabled"]:
            output = dict(step.mock["output"])
            if step.bodies:
                output[FINAL_KEY] = True
            return StepOutcome(output=output, detail="Mocked.")
        if step.cache is None:
            return _bounded(self.run(context, step, scope))
        key = canonical_hash(scope.evaluate({"key": step.cache["key"]})["key"])
        known = _find_cached(context, step, key)
        if known is not None:
            return StepOutcome(output=known, detail="From the cache.")
        return _caching(context, step, key, _bounded(self.run(context, step, scope)))

    def draft(self, step: ProcessStep, scope: Scope) -> EffectDraft | None:
        """What the step would do to another system (or be answered for there) with these values; None: nothing."""
        del step, scope
        return None

    @abstractmethod
    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """The step's own work."""


def _bounded(outcome: StepOutcome) -> StepOutcome:
    if len(outcome.output) > 0:
        ensure_small(outcome.output, len(json.dumps(outcome.output, default=str)))
    return outcome


def _find_cached(context: StepContext, step: ProcessStep, key: str) -> dict[str, Any] | None:
    row = StepCache.objects.filter(**_cache_key(context, step, key), expires_at__gt=Now()).first()
    return None if row is None else row.output


def _caching(context: StepContext, step: ProcessStep, key: str, outcome: StepOutcome) -> StepOutcome:
    if outcome.wait is not None or outcome.skipped:
        return outcome
    assert step.cache is not None
    ttl = timedelta(seconds=step.cache["ttl_s"])

    def commit() -> None:
        if outcome.commit is not None:
            outcome.commit()
        StepCache.objects.filter(expires_at__lte=Now()).delete()
        StepCache.objects.update_or_create(
            **_cache_key(context, step, key), defaults={"output": dict(outcome.output), "expires_at": Now() + ttl}
        )

    return replace(outcome, commit=commit)


def _cache_key(context: StepContext, step: ProcessStep, key: str) -> Mapping[str, Any]:
    return {
        "flow_id": context.run.flow_id,
        "environment_id": context.run.environment_id,
        "step_hash": step.identity,
        "key_hash": key,
    }
