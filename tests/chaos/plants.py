"""Known bugs that a process of a suite can be given, to see that the suite catches them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4


def apply(name: str) -> None:
    """Plant the bugs in this process, several with ` + ` between; an empty name plants none."""
    for one in filter(None, name.split(" + ")):
        PLANTS[one]()


def _skip_fencing() -> None:
    """A worker records its outcome whoever owns the step by now."""
    from apps.engine.models import StepResult
    from apps.engine.services import executing
    from apps.engine.services.stepping import RunningStep

    record = executing._record

    def record_anyway(claimed: Any, *rest: Any, **more: Any) -> Any:
        now = StepResult.objects.get(pk=claimed.step.pk)
        if now.lease_epoch != claimed.step.lease_epoch:
            StepResult.objects.filter(pk=now.pk).update(status="running", ended_at=None)
            claimed.step.lease_epoch = now.lease_epoch
        return record(claimed, *rest, **more)

    executing._record = record_anyway
    RunningStep._mine = lambda self: StepResult.objects.filter(pk=self.step_id)  # type: ignore[method-assign]
    RunningStep.renew = lambda self: True  # type: ignore[method-assign]


def _forget_the_key() -> None:
    """A write is not known again: its marker in the target has another name each time."""
    from apps.engine.services.processes import systems

    find_prior = systems.find_prior
    systems.find_prior = lambda *given: replace(find_prior(*given), key=uuid4())


def _on_first_write(what: Callable[[Any, Any, Any], Any]) -> None:
    """Replace the work of the first item's write where it is given to a worker for the first time."""
    from apps.engine.registries import step_types

    kind: Any = type(step_types.get("process.write"))
    execute = kind.execute

    def instead(self: Any, context: Any) -> Any:
        if "[0]" in context.path and context.fence == 1:
            return what(execute, self, context)
        return execute(self, context)

    kind.execute = instead


def _die_after_the_write() -> None:
    """No bug of ours: the worker's process dies between the effect and its record."""

    def die(execute: Any, self: Any, context: Any) -> None:
        execute(self, context)
        os.kill(os.getpid(), signal.SIGKILL)

    _on_first_write(die)


def _record_first() -> None:
    """A write is recorded as done, and would be done a moment later; the process dies in between."""
    from apps.engine.contracts import StepOutcome

    def promise(_execute: Any, _self: Any, _context: Any) -> StepOutcome:
        def die() -> None:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=die).start()
        return StepOutcome(output={"inserted": 1})

    _on_first_write(promise)


def _freeze_in_the_record() -> None:
    """No bug of ours: the worker's process is stopped while its transaction holds the run's lock."""
    from apps.engine.services import executing

    apply_outcome = executing.apply_outcome

    def freeze(step: Any, *rest: Any) -> None:
        if step.path.endswith("[0]/put") and step.lease_epoch == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        apply_outcome(step, *rest)

    executing.apply_outcome = freeze


def _trust_the_own_clock() -> None:
    """Timers are compared with the worker's clock, not with the database's."""
    from apps.engine.services import advancing, executing

    lock = advancing.lock_run

    def lock_by_own_clock(*given: Any, **more: Any) -> Any:
        run = lock(*given, **more)
        run.db_now = datetime.now(UTC)
        return run

    advancing.lock_run = executing.lock_run = lock_by_own_clock


def _answer_first() -> None:
    """A webhook is answered before it is stored."""
    from apps.events.services.inbound_intake import Intake, Stored

    store = Intake.store

    async def soon(self: Any, message: Any) -> Stored:
        import asyncio

        async def later() -> None:
            await asyncio.sleep(0.2)
            await store(self, message)

        task = asyncio.get_running_loop().create_task(later())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
        return Stored(False)

    Intake.store = soon  # type: ignore[method-assign]


def _die(how: Callable[[], Any]) -> Callable[[], None]:
    """No bug of ours: a step whose note says `deadly` takes its worker's process with it."""

    def plant() -> None:
        from apps.engine.registries import step_types

        for name in ("process.query", "process.transform"):
            kind: Any = type(step_types.get(name))
            run = kind.run

            def deadly(self: Any, context: Any, step: Any, scope: Any, run: Any = run) -> Any:
                if step.notes == "deadly":
                    how()
                return run(self, context, step, scope)

            kind.run = deadly

    return plant


_tasks: set[Any] = set()
PLANTS: dict[str, Callable[[], None]] = {
    "skip fencing": _skip_fencing,
    "forget the key": _forget_the_key,
    "record first": _record_first,
    "die after the write": _die_after_the_write,
    "freeze in the record": _freeze_in_the_record,
    "trust the own clock": _trust_the_own_clock,
    "answer first": _answer_first,
    "exit": _die(lambda: os._exit(3)),
    "segfault": _die(lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    "killed": _die(lambda: os.kill(os.getpid(), signal.SIGKILL)),
}
