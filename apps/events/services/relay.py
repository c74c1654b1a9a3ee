"""The relay: takes events from every tenant's log to the subscribers.

One session listens for all tenants; a few workers, each with one Django connection, visit tenants by turns. A
notification is only a hint: what it says is looked up, and a poll finds what a lost one would have said.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog
from django.db import connection

from apps.core.exceptions import NotFound
from apps.core.services.hint_sender import hint_sender
from apps.events.registries import subscribers
from apps.events.services.backlog import list_subscribers_with_due_events, list_tenants_with_backlog
from apps.events.services.delivery import deliver_events
from apps.events.services.job_queue import Job, JobQueue
from apps.events.services.leadership import RelaySession
from apps.events.services.numbering import number_events
from apps.tenancy.choices import TenantStatus
from apps.tenancy.contracts import TenantRef
from apps.tenancy.selectors import get_tenant_by_id, list_active_tenants
from apps.tenancy.services.context import tenant_context

log = structlog.get_logger(__name__)

FAULT_DELAY_S = 2.0
STARVED_S = 0.25
GATHER_S = 0.01
EXTRA_WORKER_IDLE_S = 30.0
TENANT_CACHE_S = 15.0


@dataclass(frozen=True)
class RelayOptions:
    """How a relay works.

    Attributes:
        workers: threads that visit tenants; more are added up to `max_workers` while visits hang.
        max_workers: bound of threads, and so of database connections.
        poll_s: seconds between two polls for events whose notification was lost.
        lease_s: seconds after which the server takes the leadership from a relay that gives no sign of life.
        standby_s: seconds between two attempts to become the leader.
    """

    workers: int = 4
    max_workers: int = 16
    poll_s: float = 2.0
    lease_s: float = 15.0
    standby_s: float = 1.0


class Relay:
    """Leads or stands by until it is stopped."""

    def __init__(self, options: RelayOptions | None = None) -> None:
        """Prepare; `run` does the work."""
        self.options = options or RelayOptions()
        self.queue = JobQueue(per_subscriber=max(1, self.options.workers // 2))
        self.is_leader = threading.Event()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tenants: dict[UUID, tuple[float, TenantRef]] = {}

    def stop(self) -> None:
        """Finish the visits under way and return from `run`. May be called from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`; survives lost connections and database restarts."""
        while not self._stop.is_set():
            session: RelaySession | None = None
            try:
                session = RelaySession(lease_s=self.options.lease_s)
                if self._claim(session):
                    self._lead(session)
            except psycopg.Error as error:
                log.warning("relay_disconnected", error=str(error).strip(), retry_in_s=self.options.standby_s)
                self._stop.wait(self.options.standby_s)
            finally:
                self.is_leader.clear()
                if session is not None:
                    session.close()
        for thread in self._threads:
            thread.join(timeout=10)
        hint_sender.close()
        connection.close()

    def _claim(self, session: RelaySession) -> bool:
        announced = False
        while not self._stop.is_set():
            if session.claim():
                return True
            if not announced:
                log.info("relay_stands_by")
                announced = True
            self._stop.wait(self.options.standby_s)
        return False

    def _lead(self, session: RelaySession) -> None:
        log.info("relay_leads", subscribers=[subscriber.name for subscriber in subscribers], **self._numbers())
        self._visit_everything()
        self.is_leader.set()
        for _ in range(self.options.workers - len(self._threads)):
            self._add_worker()
        next_poll = next_sign = time.monotonic()
        while not self._stop.is_set():
            if rung := session.wait(0.25):
                # A busy tenant rings for every commit; a moment's patience makes one visit of many.
                self._stop.wait(GATHER_S)
                for tenant_id in rung | session.wait(0):
                    self.queue.mark(Job(tenant_id))
            moment = time.monotonic()
            if moment >= next_sign:
                session.confirm()
                next_sign = moment + self.options.lease_s / 3
            if moment >= next_poll:
                self._poll()
                next_poll = moment + self.options.poll_s
            self._add_worker_if_starved()

    def _numbers(self) -> dict[str, float]:
        return {"workers": self.options.workers, "poll_s": self.options.poll_s, "lease_s": self.options.lease_s}

    def _visit_everything(self) -> None:
        """A new leader does not know what its predecessor left: look everywhere once."""
        for tenant in list_active_tenants():
            self.queue.mark(Job(tenant.id))
            for subscriber in subscribers:
                self.queue.mark(Job(tenant.id, subscriber.name))

    def _poll(self) -> None:
        try:
            for tenant_id in list_tenants_with_backlog():
                self.queue.mark(Job(tenant_id))
            for tenant_id, subscriber in list_subscribers_with_due_events():
                self.queue.mark(Job(tenant_id, subscriber))
        except Exception as error:  # noqa: BLE001 - the next poll tries again; notifications still work
            log.warning("relay_poll_failed", error=f"{type(error).__name__}: {error}")
            connection.close()

    # -- workers ---------------------------------------------------------------------------------------------

    def _add_worker(self, *, extra: bool = False) -> None:
        thread = threading.Thread(target=self._work, args=(extra,), name=f"relay-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _add_worker_if_starved(self) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) < self.options.max_workers and self.queue.oldest_wait_s() > STARVED_S:
            log.info("relay_adds_worker", workers=len(self._threads) + 1)
            self._add_worker(extra=True)

    def _work(self, extra: bool) -> None:
        """Visit places until stopped; an extra worker leaves when it has been idle for long."""
        idle_since = time.monotonic()
        try:
            while not self._stop.is_set():
                if extra and time.monotonic() - idle_since > EXTRA_WORKER_IDLE_S:
                    return
                # A visit that is under way when the leadership goes is finished: row locks keep it harmless.
                job = self.queue.take(timeout_s=0.5) if self.is_leader.wait(0.5) else None
                if job is None:
                    continue
                try:
                    self._visit(job)
                except NotFound:
                    log.info("relay_skips_tenant", tenant_id=str(job.tenant_id))
                except Exception as error:  # noqa: BLE001 - a worker outlives every fault; the place is visited again
                    log.warning("relay_visit_failed", **self._facts(job), error=f"{type(error).__name__}: {error}")
                    connection.close()
                    self.queue.mark_later(job, FAULT_DELAY_S)
                finally:
                    self.queue.finish(job)
                    idle_since = time.monotonic()
        finally:
            connection.close()

    @staticmethod
    def _facts(job: Job) -> dict[str, str | None]:
        return {"tenant_id": str(job.tenant_id), "subscriber": job.subscriber}

    def _visit(self, job: Job) -> None:
        tenant = self._tenant(job.tenant_id)
        if tenant.status != TenantStatus.ACTIVE:
            return
        with tenant_context(tenant):  # type: ignore[arg-type]
            if job.subscriber is None:
                self._number(job)
            else:
                self._deliver(job)

    def _number(self, job: Job) -> None:
        batch = number_events()
        for subscriber in subscribers:
            if any(subscriber.wants(type_) for type_ in batch.types):
                self.queue.mark(Job(job.tenant_id, subscriber.name))
        if batch.more:
            self.queue.mark(job)
        elif batch.busy:
            self.queue.mark_later(job, 0.1)

    def _deliver(self, job: Job) -> None:
        subscriber = subscribers.find(str(job.subscriber))
        if subscriber is None:
            return
        result = deliver_events(subscriber)
        if result.lagging:
            self.queue.mark(job)
        elif result.busy:
            self.queue.mark_later(job, 1.0)
        elif result.retry_in_s is not None:
            self.queue.mark_later(job, result.retry_in_s + 0.01)

    def _tenant(self, tenant_id: UUID) -> TenantRef:
        cached = self._tenants.get(tenant_id)
        if cached is not None and time.monotonic() - cached[0] < TENANT_CACHE_S:
            return cached[1]
        tenant = get_tenant_by_id(tenant_id)
        self._tenants[tenant_id] = (time.monotonic(), tenant)
        return tenant
