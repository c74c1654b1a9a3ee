"""The engine's side of an executing step: fenced progress and log, cancellation, and the lease's heartbeat."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

import structlog
from django.db import connection, transaction

from apps.core.services.hints import send_hint
from apps.engine.choices import RunStatus, StepStatus
from apps.engine.contracts import ResourceBag, StepContext, StepStats
from apps.engine.exceptions import LeaseLost, RunCancelled, StepTimeout
from apps.engine.models import StepResult
from apps.engine.services.advancing import ClaimedStep
from apps.engine.services.journal import Line, append_lines
from apps.engine.services.limits import engine_limits
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import require_tenant, tenant_context

log = structlog.get_logger(__name__)

COUNTERS = ("rows_read", "rows_accepted", "rows_quarantined", "rows_filtered", "rows_written", "bytes")

# One statement, in the lock order of `advance` (run, then step): the run's totals are this step's counters plus what
# the other steps reported, so a repeated or re-executed report can never count twice.
PROGRESS = """
UPDATE engine_run r SET
  {totals},
  estimate_rows = coalesce(%(estimate)s, r.estimate_rows),
  rows_per_s = (%(rows_read)s + coalesce(o.rows_read, 0))
    / greatest(extract(epoch FROM now() - r.started_at), 0.001),
  updated_at = now()
FROM (SELECT {sums} FROM engine_stepresult WHERE run_id = %(run)s AND latest AND id <> %(step)s) o
WHERE r.id = %(run)s
RETURNING r.status
""".format(  # noqa: S608 - made of constants
    totals=",\n  ".join(f"{name} = %({name})s + coalesce(o.{name}, 0)" for name in COUNTERS),
    sums=", ".join(f"sum((stats->>'{name}')::bigint) AS {name}" for name in COUNTERS),
)


class RunningStep(StepContext):
    """Context of one claimed step in this process."""

    def __init__(self, claimed: ClaimedStep, resources: ResourceBag) -> None:
        step = claimed.step
        self.run = claimed.run
        self.step_id = step.pk
        self.path = step.path
        self.name = step.name
        self.attempt = step.attempt
        self.fence = step.lease_epoch
        self.config = step.config
        self.outputs = claimed.outputs
        self.stats = StepStats()
        self.resources = resources
        self.tenant_id = require_tenant().id
        self.lost = False
        self._limits = engine_limits()
        self._reported_at = time.monotonic()
        self._timeout_s = step.timeout_s or self._limits.step_timeout_s
        self._deadline = time.monotonic() + self._timeout_s
        self._lines: list[Line] = []

    def remaining_s(self) -> float:
        """See `StepContext.remaining_s`."""
        return max(0.0, self._deadline - time.monotonic())

    # -- progress ------------------------------------------------------------------------------------------------

    def tick(self, *, force: bool = False) -> None:
        """See `StepContext.tick`."""
        now = time.monotonic()
        if self.lost:
            raise LeaseLost()
        if now > self._deadline:
            raise StepTimeout(f"{self.name} took longer than {self._timeout_s:,g} s.")
        if not force and now - self._reported_at < self._limits.progress_s:
            return
        self._reported_at = now
        values = {name: getattr(self.stats, name) for name in COUNTERS}
        with transaction.atomic():
            with connection.cursor() as cursor:
                # Losing the last report in a crash is harmless, waiting for the disk four times a second is not.
                cursor.execute("SET LOCAL synchronous_commit = off")
                cursor.execute(
                    PROGRESS,
                    {**values, "estimate": self.stats.estimate_rows, "run": self.run.id, "step": self.step_id},
                )
                status = cursor.fetchone()
            mine = self._mine().update(stats=self.stats.to_json())
            if not mine:
                self.lost = True
                raise LeaseLost()
            self._flush_lines()
            send_hint(self.tenant_id, "run", self.run.id, rows_read=self.stats.rows_read)
        if status is None or status[0] != RunStatus.RUNNING:
            raise RunCancelled()

    def check(self) -> None:
        """See `StepContext.check`."""
        status = self._mine().values_list("run__status", flat=True).first()
        if status is None:
            self.lost = True
            raise LeaseLost()
        if status != RunStatus.RUNNING:
            raise RunCancelled()

    def log(self, level: str, message: str, **facts: Any) -> None:
        """See `StepContext.log`. Written with the next progress report or the outcome."""
        self._lines.append((level, message, facts))

    def take_lines(self) -> list[Line]:
        """Lines not written yet; the caller writes them."""
        lines, self._lines = self._lines, []
        return lines

    def _flush_lines(self) -> None:
        append_lines(self.run.id, self.take_lines())

    # -- ownership -----------------------------------------------------------------------------------------------

    def _mine(self) -> Any:
        return StepResult.objects.filter(pk=self.step_id, lease_epoch=self.fence, status=StepStatus.RUNNING)

    def ensure_owner(self) -> None:
        """See `StepContext.ensure_owner`."""
        if not self._mine().select_for_update(of=("self",)).exists():
            self.lost = True
            raise LeaseLost()

    def renew(self) -> bool:
        """Extend the lease; False (and nothing extended) when it is no longer ours."""
        if time.monotonic() > self._deadline:
            return False
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE engine_stepresult SET lease_expires_at = now() + make_interval(secs => %s)"
                " WHERE id = %s AND lease_epoch = %s AND status = %s",
                [self._limits.lease_s, self.step_id, self.fence, StepStatus.RUNNING],
            )
            self.lost = self.lost or cursor.rowcount == 0
        return not self.lost


class Heartbeat:
    """Renews a step's lease from its own thread while the step computes or waits.

    The first beat comes after a third of the lease, so a short step never opens the second database connection. A
    stopped process (SIGSTOP, swap, dead machine) stops beating with all its threads, which is what the lease is for.
    """

    def __init__(self, step: RunningStep) -> None:
        self._step = step
        self._tenant: Tenant = require_tenant()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{step.step_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        opened = False
        interval = engine_limits().lease_s / 3
        try:
            while not self._done.wait(interval):
                opened = True
                try:
                    with tenant_context(self._tenant):
                        if not self._step.renew():
                            return
                except Exception as error:  # noqa: BLE001 - the next beat tries again; the lease decides in the end
                    log.warning("lease_not_renewed", step=str(self._step.step_id), error=str(error))
                    connection.close()
        finally:
            if opened:
                connection.close()
