"""The relay's to-do list: what to visit, each thing once, never two visits at the same place at a time.

A mark is removed before the visit begins. A notification that comes during the visit therefore marks again, and the
place is visited once more: no event can fall between "looked" and "told".
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Job:
    """A place to visit.

    Attributes:
        tenant_id: whose log.
        subscriber: whom to deliver to; None to number new events.
    """

    tenant_id: UUID
    subscriber: str | None = None


class JobQueue:
    """Thread-safe set of marked places, in order of marking; numbering comes first."""

    def __init__(self, *, per_subscriber: int) -> None:
        """Allow `per_subscriber` visits of one subscriber at a time, so that a hanging one leaves workers free."""
        self._per_subscriber = per_subscriber
        self._changed = threading.Condition()
        self._numbering: OrderedDict[Job, float] = OrderedDict()
        self._delivering: OrderedDict[Job, float] = OrderedDict()
        self._running: set[Job] = set()
        self._again: set[Job] = set()
        self._busy: Counter[str] = Counter()
        self._later: list[tuple[float, int, Job]] = []
        self._order = itertools.count()

    def mark(self, job: Job) -> None:
        """Visit the place soon; if it is being visited now, once more afterwards."""
        with self._changed:
            self._mark(job)
            self._changed.notify()

    def mark_later(self, job: Job, delay_s: float) -> None:
        """Visit the place in `delay_s` seconds."""
        with self._changed:
            heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._order), job))
            self._changed.notify()

    def take(self, timeout_s: float) -> Job | None:
        """The next place, unmarked and reserved until `finish`; None if there is none in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._promote()
                job = self._pick()
                if job is not None:
                    self._running.add(job)
                    if job.subscriber is not None:
                        self._busy[job.subscriber] += 1
                    return job
                wait_s = deadline - time.monotonic()
                if wait_s <= 0:
                    return None
                if self._later:
                    wait_s = min(wait_s, max(0.0, self._later[0][0] - time.monotonic()))
                self._changed.wait(wait_s)

    def finish(self, job: Job) -> None:
        """The visit is over, well or badly."""
        with self._changed:
            self._running.discard(job)
            if job.subscriber is not None:
                self._busy[job.subscriber] -= 1
            if job in self._again:
                self._again.discard(job)
                self._mark(job)
            self._changed.notify_all()

    def oldest_wait_s(self) -> float:
        """How long the oldest place that could be visited has been waiting; 0 if none is."""
        with self._changed:
            self._promote()
            marked = [*itertools.islice(self._numbering.values(), 1)]
            marked += [at for job, at in self._delivering.items() if self._is_free(job)][:1]
            return time.monotonic() - min(marked) if marked else 0.0

    def is_idle(self) -> bool:
        """Whether nothing is marked or being visited."""
        with self._changed:
            self._promote()
            return not (self._numbering or self._delivering or self._running)

    def _mark(self, job: Job) -> None:
        if job in self._running:
            self._again.add(job)
            return
        line = self._numbering if job.subscriber is None else self._delivering
        line.setdefault(job, time.monotonic())

    def _promote(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self._mark(heapq.heappop(self._later)[2])

    def _is_free(self, job: Job) -> bool:
        return job.subscriber is None or self._busy[job.subscriber] < self._per_subscriber

    def _pick(self) -> Job | None:
        if self._numbering:
            return self._numbering.popitem(last=False)[0]
        for job in self._delivering:
            if self._is_free(job):
                del self._delivering[job]
                return job
        return None
