"""Plain data of the engine: what a step is, how it is retried, what it leaves behind. No Django."""

from __future__ import annotations

import hashlib
import json
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.core.exceptions import TransientError


def canonical_hash(value: object) -> str:
    """sha256 of the canonical JSON (sorted keys, no spaces) of a value; the identity of a definition."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class RetryDecision:
    """Try again.

    Attributes:
        delay_s: seconds to wait before the next attempt.
    """

    delay_s: float


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed step is tried again, as data.

    Attributes:
        max_attempts: attempts in all, the first one included.
        base_s, cap_s: first and longest delay, seconds.
        jitter: share of the delay that is random, so that many steps do not return at once.
    """

    max_attempts: int = 4
    base_s: float = 1.0
    cap_s: float = 60.0
    jitter: float = 0.2

    def decide(self, error: BaseException, attempt: int, *, chance: float | None = None) -> RetryDecision | None:
        """Whether to try again after `attempt` attempts ended with `error`, and when.

        Delay: min(cap_s, base_s * 2**(attempt - 1)), then up to `jitter` of it added. For the defaults without
        jitter: 1, 2, 4 s, then None. Only a `TransientError` is ever retried.

        Args:
            error: what the last attempt raised.
            attempt: attempts made so far, at least 1.
            chance: number in [0, 1) in place of the random one.
        """
        if attempt < 1:
            raise ValueError("attempt counts from 1")
        if not isinstance(error, TransientError) or attempt >= self.max_attempts:
            return None
        delay = min(self.cap_s, self.base_s * 2.0 ** (attempt - 1))
        share = random.random() if chance is None else chance
        return RetryDecision(delay_s=delay * (1 + self.jitter * share))


NO_RETRY = RetryPolicy(max_attempts=1)


@dataclass(frozen=True)
class StepSpec:
    """One step as a program plans it.

    Attributes:
        path: address inside the run (`load/part[0]`, later `loop[3]/branch:approved/post`).
        kind: step type that executes it.
        name: shown to people.
        config: JSON that the step type reads; a part of the step's identity.
        depends_on: paths that must have succeeded before.
        connections: ids of connections it uses, for the limit per connection.
        retry: policy for transient errors.
        timeout_s: longest time of one attempt; None is the engine's limit.
        identity: what `definition_hash` gives; computed from kind and config when empty.
        position: place in the display; None is the place in the plan. Fixed ones need no rewriting as a plan grows.
    """

    path: str
    kind: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    connections: tuple[UUID, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    timeout_s: float | None = None
    identity: str = ""
    position: int | None = None

    @property
    def definition_hash(self) -> str:
        """Identity: a stored step continues only if its kind and config are still these."""
        return self.identity or canonical_hash({"kind": self.kind, "config": self.config})


@dataclass(frozen=True)
class Wait:
    """Why a step ends its work without an outcome yet: it is parked, and holds no worker and no slot meanwhile.

    Attributes:
        kind: what it waits for; names the reader of `facts`.
        facts: JSON kept with the step.
        until: the moment at which it is woken even if nothing arrives, by the database's clock.
    """

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    until: datetime | None = None


@dataclass(frozen=True)
class StepOutcome:
    """What a step leaves for those after it.

    Attributes:
        output: JSON for later steps; never rows.
        detail: one line for people.
        skipped: nothing had to be done.
        commit: effect on the tenant's own schema; called inside the transaction that records the outcome, so that
            the effect and its marker are one.
        wait: the step is parked until `StepType.wake` gives its outcome; `output` is not used then.
    """

    output: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""
    skipped: bool = False
    wait: Wait | None = None
    commit: Callable[[], None] | None = None


@dataclass
class StepStats:
    """Counters of one step attempt; kept in `StepResult.stats` and summed into the run's progress."""

    rows_read: int = 0
    rows_accepted: int = 0
    rows_quarantined: int = 0
    rows_filtered: int = 0
    rows_written: int = 0
    bytes: int = 0
    estimate_rows: int | None = None

    def to_json(self) -> dict[str, int | None]:
        """The counters as a JSON object."""
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StepStats:
        """Counters from what `to_json` gave; unknown names are ignored."""
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if value.get(name) is not None})


@dataclass(frozen=True)
class RunFacts:
    """What a program and a step may know about their run.

    Attributes:
        id, flow_id, flow_name, environment, environment_id: which run of what, where.
        flow_version_id: None for a run of the draft.
        kind, mode: see `choices`.
        definition: the pinned flow definition, JSON.
        parameters: what the starter passed.
        since: start of the range to read, in place of the stored cursor.
        resumed: how many times the run was resumed.
        definition_hash: identity of `definition`.
        now: the database's time when these facts were taken.
        compensation: how far its undoing is; None while it goes forward. See `services.undoing`.
        origin: the first run of a chain of restarts; None for a run that is no restart.
        again: paths whose effects are wanted once more, although an earlier run of the chain had them.
    """

    id: UUID
    flow_id: UUID
    flow_name: str
    flow_version_id: UUID | None
    environment: str
    environment_id: UUID
    kind: str
    mode: str
    definition: Mapping[str, Any]
    parameters: Mapping[str, Any]
    since: str | None
    resumed: int = 0
    definition_hash: str = ""
    now: datetime | None = None
    compensation: Mapping[str, Any] | None = None
    origin: UUID | None = None
    again: tuple[str, ...] = ()

    @property
    def first_id(self) -> UUID:
        """The first of the runs that restarts made of each other; its own id when it is no restart."""
        return self.origin or self.id


@dataclass(frozen=True)
class EffectDraft:
    """What a step is about to do to another system, before it is done.

    Attributes:
        operation: `append`, `upsert`, `publish`, `flow`, `load`, …
        target: what it is done to there: an entity, an event's name, a flow.
        payload: everything that is sent, JSON; kept as a hash only.
        business_key: what the people of that system call it by (`id=4711`).
        connection: id of the connection; None for our own database.
        summary: counts and names for people, never values.
    """

    operation: str
    target: str
    payload: Any
    business_key: str = ""
    connection: UUID | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def payload_hash(self) -> str:
        """SHA-256 of the canonical JSON of operation, target and payload."""
        connection = None if self.connection is None else str(self.connection)
        return canonical_hash([self.operation, self.target, connection, self.payload])


class StepContext(ABC):
    """The engine's side of an executing step: identity, fencing, progress, log, cancellation.

    Every method that writes is fenced: once another worker owns the step it raises `LeaseLost`, and the step ends.
    """

    run: RunFacts
    step_id: UUID
    path: str
    name: str
    attempt: int
    fence: int
    config: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]
    stats: StepStats
    resources: ResourceBag
    tenant_id: UUID

    @property
    def fenced_part(self) -> str:
        """Name for what this execution stages; unique to attempt and delivery, so a zombie's rows are never used."""
        return f"{self.path}#{self.attempt}.{self.fence}"

    def remaining_s(self) -> float:
        """Seconds until the step's time is over; infinite for a step that is executed inside a visit."""
        return math.inf

    @abstractmethod
    def tick(self, *, force: bool = False) -> None:
        """Report progress (written at most every ~300 ms).

        Raises:
            LeaseLost: another worker owns the step.
            RunCancelled: somebody asked to cancel.
        """

    @abstractmethod
    def check(self) -> None:
        """As `tick`, without a report: one small read."""

    @abstractmethod
    def log(self, level: str, message: str, **facts: Any) -> None:
        """Append a line to the run's log."""

    @abstractmethod
    def ensure_owner(self) -> None:
        """Lock the step's row until the surrounding transaction ends, if it is still ours; else raise `LeaseLost`.

        A write to the tenant's schema in the same transaction is thereby fenced.
        """


class ResourceBag:
    """Things that outlive one step inside one visit of a worker (open connections), closed together at its end."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Any] = {}
        self._closers: list[Any] = []

    def get(self, kind: str, key: str, make: Any, close: Any = None) -> Any:
        """The resource of that kind and key, made by `make()` once; `close(resource)` runs at the end."""
        found = self._items.get((kind, key))
        if found is None:
            found = make()
            self._items[(kind, key)] = found
            if close is not None:
                self._closers.append((close, found))
        return found

    def close(self) -> None:
        """Close everything in reverse order; the first error is raised after all were tried."""
        first: BaseException | None = None
        while self._closers:
            close, item = self._closers.pop()
            try:
                close(item)
            except Exception as error:  # noqa: BLE001 - every other resource must still be closed
                first = first or error
        self._items.clear()
        if first is not None:
            raise first


@dataclass(frozen=True)
class ParkedStep:
    """A parked step as `StepType.wake` sees it.

    Attributes:
        run: its run.
        step_id, path, config: its identity.
        wait: facts it was parked with.
        signal: what arrived for it, if anything.
        due: the moment given with the wait has passed.
        parked_at: when it was parked.
        outputs: as of `StepContext`.
    """

    run: RunFacts
    step_id: UUID
    path: str
    config: Mapping[str, Any]
    wait: Mapping[str, Any]
    signal: Mapping[str, Any] | None
    due: bool
    parked_at: datetime | None
    outputs: Mapping[str, Mapping[str, Any]]


class StepType(ABC):
    """A kind of step. Stateless; one instance is registered per kind.

    `execute` may be called again for the same step after a crash, possibly while a zombie of the earlier execution
    still runs: its effects must be idempotent per run and path, or be fenced through the context.
    """

    type: str
    inline = False
    """Whether it is quick and has no effect outside of our own schema, so that a visit may execute it inside the
    transaction that records it, with those before and after it."""

    def wake(self, step: ParkedStep) -> StepOutcome | None:
        """The outcome of a parked step, or None while what it waits for has not come. Called under the run's lock.

        Raises:
            TransientError, TerminalError: as from `execute`.
        """
        del step
        return None

    def drop(self, step: ParkedStep) -> None:
        """A parked step is cancelled: let go of what waits for it. Called under the run's lock."""
        del step

    @abstractmethod
    def execute(self, context: StepContext) -> StepOutcome:
        """Do the work.

        Raises:
            TransientError: the retry policy decides.
            TerminalError: the run fails with that code, message and remedy.
        """


ERROR_KEY = "$error"
"""In the outputs that a steering program sees, the error of a step that failed for good."""


class Outputs(dict[str, Mapping[str, Any]]):
    """Outputs by path, as a program sees them during one visit.

    `memo` is the program's own: within a visit outputs are only added, so it may keep there how far it has looked.
    """

    def __init__(self, *args: Any, **values: Any) -> None:
        """As a dict."""
        super().__init__(*args, **values)
        self.memo: dict[str, Any] = {}


@dataclass(frozen=True)
class Steering:
    """What a steering program decides.

    Attributes:
        specs: every step that may work or wait now; those of the run that are missing here and have not ended are
            cancelled.
        ended: None while the run goes on, else whether it ended well.
        result: JSON that the run leaves.
        error: why it failed.
        failed: paths of the failed steps that led to it; a resume does them again.
        remaining: paths of the steps that are not undone yet, while the run is being undone.
    """

    specs: Sequence[StepSpec] = ()
    ended: bool | None = None
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    failed: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()


class Program(ABC):
    """Plans the steps of one kind of run."""

    type: str
    steers = False
    """Whether it decides through `steer` what becomes of failed steps and when the run ends. Otherwise a failed step
    fails the run, and a run whose planned steps are all done has succeeded."""

    def steer(self, run: RunFacts, outputs: Outputs) -> Steering:
        """The present decision; pure. `outputs` has the failed steps, too (see `ERROR_KEY`)."""
        raise NotImplementedError

    @abstractmethod
    def plan(self, run: RunFacts, outputs: Mapping[str, Mapping[str, Any]]) -> Sequence[StepSpec]:
        """Every step known so far, in order of display; pure.

        Args:
            run: the run.
            outputs: output by path of the steps that have succeeded. A plan only ever grows as these do.
        """

    def find_undoing(self, run: RunFacts, done: Sequence[str]) -> list[str]:
        """Paths of the completed steps that a failed or cancelled run has to undo, in that order.

        Args:
            run: the run.
            done: paths of the steps that have succeeded, the last one first.
        """
        del run, done
        return []

    def restarts(self, path: str, error_code: str) -> tuple[str, ...]:
        """Beginnings of paths whose steps must run anew before `path` is tried again after that transient error.

        Their outputs no longer hold (a snapshot is gone, staged rows are lost). Most errors need none.
        """
        del path, error_code
        return ()

    def ended(self, run: RunFacts, *, succeeded: bool) -> None:
        """Called in the transaction that ends the run, for what must change in the same moment."""
        del run, succeeded

    @abstractmethod
    def abandon(self, run: RunFacts, outputs: Mapping[str, Mapping[str, Any]]) -> None:
        """Release what an ended, unsuccessful run holds outside (staging). Idempotent; may be called much later."""


@dataclass(frozen=True)
class RunSummary:
    """The last run of a flow, for lists in other apps."""

    id: UUID
    status: str
    environment: str
    created_at: datetime
    ended_at: datetime | None
