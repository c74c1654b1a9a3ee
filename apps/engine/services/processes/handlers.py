"""Steps that call a function of an installed app. Their code is the operator's own, deployed with the portal."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any
from uuid import UUID, uuid5

from apps.engine.contracts import StepContext, StepOutcome, canonical_hash
from apps.engine.exceptions import HandlerOutputInvalid, StepTimeout
from apps.engine.services.processes.scopes import Scope
from apps.engine.services.processes.steps import ProcessStepType
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.registries import HandlerCall, process_handlers


class CallHandler(ProcessStepType):
    """Calls a registered function; what it returns is the step's output."""

    type = "process.handler"

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Call it, within the step's time."""
        handler = process_handlers.get(step.config["handler"])
        given, outputs = dict(context.run.parameters), scope.visible_outputs()
        call = HandlerCall(
            run_id=context.run.id,
            step=context.path,
            input=given,
            outputs=outputs,
            arguments=scope.evaluate(step.config["arguments"]),
            error=scope.handled_error(),
            attempt=context.attempt,
            idempotency_key=_key_of(context, [given, outputs]),
            remaining_s=context.remaining_s(),
            tick=context.tick,
            log=context.log,
        )
        context.tick(force=True)  # nothing is done any more once the step belongs to somebody else
        with _time_limit(context, step):
            returned = handler.function(call)
        return StepOutcome(output=_to_output(step, returned), detail=f"{handler.type} ended.")


def _key_of(context: StepContext, seen: list[Any]) -> UUID:
    """The same for the same data in a run and in all its restarts, unless one wants the effect once more."""
    run = context.run
    origin = run.id if context.path in run.again else run.first_id
    return uuid5(origin, f"{context.path} {canonical_hash(seen)}")


def _to_output(step: ProcessStep, returned: Mapping[str, Any] | None) -> dict[str, Any]:
    if returned is None:
        return {}
    handler = step.config["handler"]
    if not isinstance(returned, Mapping):
        raise HandlerOutputInvalid(
            f"{step.title}: {handler} returned a {type(returned).__name__}, not an object.", value=handler
        )
    try:
        output: dict[str, Any] = json.loads(json.dumps(dict(returned), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise HandlerOutputInvalid(
            f"{step.title}: {handler} returned what is not JSON: {error}", value=handler
        ) from None
    reserved = sorted(name for name in output if name.startswith("$"))
    if reserved:
        raise HandlerOutputInvalid(f"{step.title}: names with $ are reserved: {', '.join(reserved)}.", value=handler)
    return output


@contextmanager
def _time_limit(context: StepContext, step: ProcessStep) -> Iterator[None]:
    """Interrupt a function that neither ends nor ticks. Workers execute steps in their main thread, where it works."""
    if step.timeout_s is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise StepTimeout(f"{step.title} took longer than {step.timeout_s:,g} s.")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(context.remaining_s(), 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
