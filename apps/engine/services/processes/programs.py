"""The program of processes: walks the definition, and says what may happen next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from apps.engine.choices import RunKind
from apps.engine.contracts import Outputs, Program, RunFacts, Steering, StepSpec
from apps.engine.services.definitions import parse_process
from apps.engine.services.processes.walking import END, Walker, step_id_of
from apps.integrations.selectors import find_binding


class ProcessProgram(Program):
    """Steers a run by its process definition."""

    type = RunKind.PROCESS
    steers = True

    def steer(self, run: RunFacts, outputs: Outputs) -> Steering:
        """See `Program.steer`."""
        slots: dict[str, UUID | None] = outputs.memo.setdefault("slots", {})

        def connection_of(slot: str) -> UUID | None:
            if slot not in slots:
                slots[slot] = find_binding(run.environment_id, slot)
            return slots[slot]

        undo = None if run.compensation is None else run.compensation["steps"]
        return Walker(parse_process(run), outputs, connection_of, undo).steer()

    def find_undoing(self, run: RunFacts, done: Sequence[str]) -> list[str]:
        """See `Program.find_undoing`."""
        definition = parse_process(run)
        if not definition.is_undone:
            return []
        found = []
        for path in done:
            whole = path.removesuffix(END)
            step = definition.by_id.get(step_id_of(whole))
            if step is None or not step.compensation or (step.mock is not None and step.mock["enabled"]):
                continue
            if bool(step.bodies) == path.endswith(END):
                found.append(whole)
        return found

    def plan(self, run: RunFacts, outputs: Mapping[str, Mapping[str, Any]]) -> Sequence[StepSpec]:
        """The steps that may work now."""
        return self.steer(run, Outputs(outputs)).specs

    def abandon(self, run: RunFacts, outputs: Mapping[str, Mapping[str, Any]]) -> None:
        """A process holds nothing outside."""
