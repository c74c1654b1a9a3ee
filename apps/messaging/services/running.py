"""Consumes for all tenants: one thread for each consumer that this process holds, a few connections to the database.

A thread takes a batch, has it committed, and only then acknowledges it. Whatever happens in between (kill -9, a broker
or database that goes) leaves the batch with the broker, which hands it over again; what was committed is then found
seen.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import connection

from apps.connectors.base import MessageSource
from apps.core.exceptions import PortalError, TransientError
from apps.core.services.hint_sender import hint_sender
from apps.messaging.exceptions import LeaseLost
from apps.messaging.services.keeping import keep_messages
from apps.messaging.services.leases import (
    Lease,
    claim_consumers,
    list_tenants_with_idle_consumers,
    note_alive,
    open_connector,
    release,
)
from apps.messaging.services.pacing import Pace
from apps.tenancy.choices import TenantStatus
from apps.tenancy.selectors import get_tenant_by_id
from apps.tenancy.services.context import tenant_context

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")
BATCH = 100
ALIVE_S = 3.0
LAG_S = 15.0
DATABASE_THREADS = 4


class ConsumingFailed(TransientError):
    """Something unexpected ended the consumption."""

    code = "messaging.failed"
    default_remedy = "It is tried again by itself; tell the operator if it goes on."


@dataclass(frozen=True)
class RunnerOptions:
    """How a runner works.

    Attributes:
        slots: consumers at a time, over all tenants; start more processes for more.
        per_tenant: of them, at most so many of one tenant.
        tenant_per_second: messages a second and tenant that this process takes, over all its consumers.
        poll_s: seconds between two looks for consumers that nobody holds.
        wait_s: longest wait for a message, and so for a stop.
    """

    slots: int = 64
    per_tenant: int = 16
    tenant_per_second: int = 2_000
    poll_s: float = 1.0
    wait_s: float = 1.0


class ConsumerRunner:
    """Runs until it is stopped; survives lost brokers and database restarts."""

    def __init__(self, options: RunnerOptions | None = None) -> None:
        """Prepare; `run` does the work."""
        self.options = options or RunnerOptions()
        self._owner = f"{socket.gethostname()}:{os.getpid()}"[:120]
        self._stop = threading.Event()
        self._held: Counter[UUID] = Counter()
        self._paces: dict[UUID, Pace] = {}
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._database = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="consumers-db")

    def stop(self) -> None:
        """Keep the batches under way and return from `run`. May be called from a signal handler or a thread."""
        self._stop.set()

    def run(self) -> None:
        """Consume until `stop`."""
        try:
            while not self._stop.is_set():
                try:
                    for tenant_id in self._call(list_tenants_with_idle_consumers):
                        self._claim(tenant_id)
                except Exception as error:  # noqa: BLE001 - the loop outlives every fault; the next look finds the same
                    log.warning("consumers_not_claimed", error=f"{type(error).__name__}: {error}")
                self._stop.wait(self.options.poll_s)
        finally:
            self._stop.set()
            with self._lock:
                threads = list(self._threads)
            for thread in threads:
                thread.join(30)
            hint_sender.close()
            self._close_connections()

    def _claim(self, tenant_id: UUID) -> None:
        with self._lock:
            free = min(self.options.slots - self._held.total(), self.options.per_tenant - self._held.get(tenant_id, 0))
        if free <= 0:
            return
        for lease in self._in_tenant(tenant_id, claim_consumers, free, owner=self._owner):
            with self._lock:
                self._held[tenant_id] += 1
                pace = self._paces.setdefault(tenant_id, Pace(self.options.tenant_per_second))
            thread = threading.Thread(target=self._hold, args=(lease, pace), name=f"consumer-{lease.name}", daemon=True)
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _hold(self, lease: Lease, tenant_pace: Pace) -> None:
        """Consume until stopped, or until the lease or the connection is lost."""
        error: PortalError | None = None
        try:
            self._consume(lease, tenant_pace)
        except LeaseLost:
            log.info("consumer_let_go", consumer=str(lease.consumer_id))
        except PortalError as fault:
            error = fault
            log.warning("consumer_failed", consumer=str(lease.consumer_id), code=fault.code, error=fault.message)
        except Exception as fault:
            error = ConsumingFailed(f"{type(fault).__name__}: {fault}"[:500])
            log.exception("consumer_broke", consumer=str(lease.consumer_id))
        finally:
            try:
                self._in_tenant(lease.tenant_id, release, lease, error)
            except LeaseLost:
                pass
            except Exception as fault:  # noqa: BLE001 - the lease ends by itself
                log.warning("consumer_not_released", consumer=str(lease.consumer_id), error=str(fault))
            with self._lock:
                self._held[lease.tenant_id] -= 1
                if self._held[lease.tenant_id] <= 0:
                    del self._held[lease.tenant_id]
                self._threads.discard(threading.current_thread())

    def _consume(self, lease: Lease, tenant_pace: Pace) -> None:
        with self._in_tenant(lease.tenant_id, open_connector, lease) as connector:
            with connector.open_consumer(lease.request) as source:
                lag = source.lag()
                self._in_tenant(lease.tenant_id, note_alive, lease, lag=lag, connected=True)
                self._take_all(lease, source, [tenant_pace, Pace(lease.max_per_second)], lag)

    def _take_all(self, lease: Lease, source: MessageSource, paces: list[Pace], lag: int | None) -> None:
        said = asked = time.monotonic()
        while not self._stop.is_set():
            limit = min([BATCH, *(pace.available() for pace in paces)])
            messages = source.receive(limit, wait_s=self.options.wait_s) if limit > 0 else []
            if messages:
                for pace in paces:
                    pace.spend(len(messages))
                self._in_tenant(lease.tenant_id, keep_messages, lease.consumer_id, lease.fence, messages)
                source.acknowledge(messages)
            elif limit <= 0:
                self._stop.wait(0.05)
            moment = time.monotonic()
            if moment - asked >= LAG_S:
                lag, asked = source.lag(), moment
            if moment - said >= ALIVE_S:
                self._in_tenant(lease.tenant_id, note_alive, lease, lag=lag)
                said = moment

    # -- the database --------------------------------------------------------------------------------------------

    def _call(self, function: Callable[..., ResultT], *arguments: Any, **options: Any) -> ResultT:
        found: ResultT = self._database.submit(_guarded, function, *arguments, **options).result()
        return found

    def _in_tenant(self, tenant_id: UUID, function: Callable[..., ResultT], *arguments: Any, **options: Any) -> ResultT:
        found: ResultT = self._call(_enter, tenant_id, function, *arguments, **options)
        return found

    def _close_connections(self) -> None:
        barrier = threading.Barrier(DATABASE_THREADS)

        def close() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(5)
            connection.close()

        for _ in range(DATABASE_THREADS):
            self._database.submit(close)
        self._database.shutdown()


def _enter(tenant_id: UUID, function: Callable[..., ResultT], *arguments: Any, **options: Any) -> ResultT:
    tenant = get_tenant_by_id(tenant_id)
    if tenant.status != TenantStatus.ACTIVE:
        raise LeaseLost("The organisation is not served at the moment.")
    with tenant_context(tenant):
        return function(*arguments, **options)


def _guarded(function: Callable[..., ResultT], *arguments: Any, **options: Any) -> ResultT:
    try:
        return function(*arguments, **options)
    except PortalError:
        raise
    except Exception:
        connection.close()  # whatever it was, the next call gets a connection that works
        raise
