"""The programs of loads and replays: which steps a run has, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from apps.connectors.exceptions import SnapshotGone, StagingLost
from apps.engine.contracts import NO_RETRY, Program, RetryPolicy, RunFacts, StepSpec
from apps.engine.services.loads.connections import drop_staging
from apps.engine.services.loads.plans import CHECKPOINT, FINISH, OPEN, PUSHDOWN, RECONCILE, LoadPlan, part_path
from apps.quality.services.quarantine import release_replayed

PARTS = "load/part["
LAST = 1_000_000  # behind any number of parts
LOAD_RETRY = RetryPolicy(max_attempts=4, base_s=1.0, cap_s=30.0)


class LoadProgram(Program):
    """`open` → one fused `extract + map + validate + stage` step per partition → `finish` → `reconcile` → `checkpoint`.

    When source and target are one database, `pushdown` takes the place of the parts.
    """

    type = "load"

    def plan(self, run: RunFacts, outputs: Mapping[str, Mapping[str, Any]]) -> Sequence[StepSpec]:
        """See `Program.plan`. The parts appear once `open` has decided on them."""
        specs = [StepSpec(OPEN, "load.open", self._open_name(), retry=LOAD_RETRY)]
        opened = outputs.get(OPEN)
        if opened is None:
            return [*specs, *self._closing(depends_on=(OPEN,), connections=())]
        plan = LoadPlan.from_json(opened["plan"])
        if plan.pushdown:
            middle = [
                StepSpec(
                    PUSHDOWN,
                    "load.pushdown",
                    "Map inside the database",
                    depends_on=(OPEN,),
                    connections=plan.connections,
                    retry=LOAD_RETRY,
                )
            ]
        else:
            count = len(plan.partitions)
            middle = [
                StepSpec(
                    part_path(index),
                    "load.part",
                    self._part_name(index, count),
                    config={"partition": plan.partitions[index], "index": index},
                    depends_on=(OPEN,),
                    connections=plan.connections,
                    retry=LOAD_RETRY,
                )
                for index in range(count)
            ]
        return [
            *specs,
            *middle,
            *self._closing(depends_on=tuple(spec.path for spec in middle), connections=(plan.target_connection,)),
        ]

    def _open_name(self) -> str:
        return "Plan the load"

    def _part_name(self, index: int, count: int) -> str:
        name = "Extract, map, validate and stage"
        return name if count == 1 else f"{name} ({index + 1} of {count})"

    def _closing(self, depends_on: tuple[str, ...], connections: tuple[UUID, ...]) -> list[StepSpec]:
        return [
            StepSpec(FINISH, "load.finish", "Bring into the target", {}, depends_on, connections, LOAD_RETRY, LAST),
            StepSpec(RECONCILE, "load.reconcile", "Reconcile", {}, (FINISH,), connections, LOAD_RETRY, LAST + 1),
            StepSpec(CHECKPOINT, "load.checkpoint", "Remember the position", {}, (RECONCILE,), (), NO_RETRY, LAST + 2),
        ]

    def restarts(self, path: str, error_code: str) -> tuple[str, ...]:
        """Blocks of two snapshots do not fit together; staged rows that are lost must be staged again."""
        if error_code == SnapshotGone.code:
            return (OPEN, PARTS)
        if error_code == StagingLost.code:
            return (PARTS, PUSHDOWN)
        return ()

    def abandon(self, run: RunFacts, outputs: Mapping[str, Mapping[str, Any]]) -> None:
        """Drop the run's staging area."""
        if OPEN in outputs:
            drop_staging(run, LoadPlan.from_json(outputs[OPEN]["plan"]))


class ReplayProgram(LoadProgram):
    """As a load, with quarantined rows as the source."""

    type = "replay"

    def _open_name(self) -> str:
        return "Plan the replay"

    def ended(self, run: RunFacts, *, succeeded: bool) -> None:
        """The rows of a replay that did not come through wait in the quarantine again."""
        if not succeeded:
            release_replayed(run.id)
