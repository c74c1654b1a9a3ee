"""Sends due deliveries of all tenants: one event loop, many endpoints at a time, none of which can hold up the others.

The tables say what is due; a notification only says when to look, and a poll finds what a lost one would have said.
Several dispatchers may run: each delivery is claimed under a lease by one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import structlog
from django.db import connection

from apps.core.clock import now
from apps.core.services.egress import EgressLimits, EgressSession, open_session
from apps.core.services.hint_sender import hint_sender
from apps.events.contracts import EventRecord, OutgoingMessage, SendResult
from apps.events.registries import delivery_targets
from apps.events.services.attempts import Claim, Outcome, claim_deliveries, settle_attempts
from apps.events.services.backlog import list_tenants_with_due_deliveries
from apps.events.services.lanes import NOTIFY_CHANNEL
from apps.events.services.leadership import open_listener
from apps.events.services.signing_keys import reveal_signing_secrets, valid_fields
from apps.tenancy.choices import TenantStatus
from apps.tenancy.selectors import get_tenant_lately
from apps.tenancy.services.context import tenant_context

log = structlog.get_logger(__name__)

ATTEMPT_S = 15.0
MAX_ANSWER_BYTES = 16 * 1024
GATHER_S = 0.005
FAULT_DELAY_S = 1.0
DATABASE_THREADS = 3


@dataclass(frozen=True)
class DispatcherOptions:
    """How a dispatcher works.

    Attributes:
        slots: attempts under way at a time, over all tenants.
        failing_slots: of them, at most so many at endpoints that fail.
        per_subscription: attempts at a time at one healthy endpoint; a failing one gets one.
        poll_s: seconds between two looks for what a lost notification would have said, and for retries.
    """

    slots: int = 256
    failing_slots: int = 96
    per_subscription: int = 32
    poll_s: float = 1.0


class Dispatcher:
    """Runs until it is stopped; survives lost connections and database restarts."""

    def __init__(self, options: DispatcherOptions | None = None) -> None:
        """Prepare; `run` does the work."""
        self.options = options or DispatcherOptions()
        self._stop = threading.Event()
        self._marked: set[UUID] = set()
        self._marks = threading.Lock()
        self._wake: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_flight: Counter[UUID] = Counter()
        self._unsettled = 0
        self._failing = 0
        self._secrets: dict[UUID, tuple[tuple[int, str], tuple[str, ...]]] = {}
        self._outcomes: list[tuple[UUID, Outcome]] = []
        self._settle_soon = asyncio.Event()
        self._database = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="dispatcher-db")

    def stop(self) -> None:
        """Finish the attempts under way and return from `run`. May be called from a signal handler or a thread."""
        self._stop.set()
        self._ring()

    def run(self) -> None:
        """Send until `stop`."""
        listener = threading.Thread(target=self._listen, name="dispatcher-listen", daemon=True)
        listener.start()
        try:
            asyncio.run(self._work())
        finally:
            self._stop.set()
            listener.join(5)
            hint_sender.close()
            self._close_connections()

    def _close_connections(self) -> None:
        """Each database thread closes its own: the barrier keeps one thread from taking two of the calls."""
        barrier = threading.Barrier(DATABASE_THREADS)

        def close() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(5)
            connection.close()

        for _ in range(DATABASE_THREADS):
            self._database.submit(close)
        self._database.shutdown()

    # -- what wakes it -----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with open_listener(NOTIFY_CHANNEL) as session:
                    while not self._stop.is_set():
                        for notification in session.notifies(timeout=0.25, stop_after=1):
                            self._mark(notification.payload)
            except psycopg.Error as error:
                log.warning("dispatcher_disconnected", error=str(error).strip())
                self._stop.wait(FAULT_DELAY_S)

    def _mark(self, tenant_id: UUID | str) -> None:
        try:
            found = tenant_id if isinstance(tenant_id, UUID) else UUID(tenant_id)
        except ValueError:
            return
        with self._marks:
            self._marked.add(found)
        self._ring()

    def _ring(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    # -- the loop ----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        limits = EgressLimits(
            total_s=ATTEMPT_S,
            connect_s=ATTEMPT_S / 2,
            read_s=ATTEMPT_S,
            max_bytes=MAX_ANSWER_BYTES,
            max_redirects=0,
            max_connections=self.options.slots,
            truncate=True,
        )
        async with open_session(limits) as session:
            settler = asyncio.create_task(self._settle_all())
            tasks: set[asyncio.Task[None]] = set()
            polled = 0.0
            while not self._stop.is_set():
                if self._loop.time() - polled >= self.options.poll_s:
                    polled = self._loop.time()
                    await self._poll()
                # Cleared before the look: what comes during it wakes again.
                self._wake.clear()
                with self._marks:
                    marked, self._marked = self._marked, set()
                for tenant_id in marked:
                    for claim in await self._claim(tenant_id):
                        task = asyncio.create_task(self._attempt(session, tenant_id, claim))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                try:
                    await asyncio.wait_for(self._wake.wait(), self.options.poll_s)
                except TimeoutError:
                    continue
            if tasks:
                await asyncio.wait(tasks, timeout=ATTEMPT_S + 5)
            await settler

    async def _call(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._database, _guarded, function, *arguments)

    async def _poll(self) -> None:
        for tenant_id in await self._call(list_tenants_with_due_deliveries) or []:
            self._mark(tenant_id)

    async def _claim(self, tenant_id: UUID) -> list[Claim]:
        free = self.options.slots - self._in_flight.total()
        if free <= 0:
            # Whoever finishes looks again.
            with self._marks:
                self._marked.add(tenant_id)
            return []
        claims: list[Claim] = (
            # Copied here: the loop goes on counting while a thread claims.
            await self._call(self._claim_in, tenant_id, free, dict(self._in_flight), self._failing) or []
        )
        for claim in claims:
            self._in_flight[claim.subscription_id] += 1
            self._failing += claim.is_failing
        return claims

    def _claim_in(self, tenant_id: UUID, free: int, in_flight: dict[UUID, int], failing: int) -> list[Claim]:
        tenant = get_tenant_lately(str(tenant_id))
        if tenant.status != TenantStatus.ACTIVE:
            return []
        with tenant_context(tenant):
            return claim_deliveries(
                limit=free,
                in_flight=in_flight,
                healthy=self.options.per_subscription,
                failing=1 if failing < self.options.failing_slots else 0,
            )

    async def _attempt(self, session: EgressSession, tenant_id: UUID, claim: Claim) -> None:
        try:
            result = await self._send(session, tenant_id, claim)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this attempt's failure
            log.warning("delivery_broke", delivery_id=str(claim.delivery_id), error=f"{type(error).__name__}: {error}")
            result = SendResult(False, error=f"{type(error).__name__}: {error}"[:500])
        self._outcomes.append((tenant_id, Outcome(claim, result)))
        self._settle_soon.set()
        self._unsettled += 1
        if result.ok:
            # The endpoint is free again, while its delivery stays claimed until the outcome is recorded. One that
            # fails gets nothing more before that.
            self._let_go(claim)

    def _let_go(self, claim: Claim) -> None:
        self._in_flight[claim.subscription_id] -= 1
        if self._in_flight[claim.subscription_id] <= 0:
            del self._in_flight[claim.subscription_id]

    async def _send(self, session: EgressSession, tenant_id: UUID, claim: Claim) -> SendResult:
        target = delivery_targets.find(claim.target)
        if target is None:
            return SendResult(False, error=f"Nothing here delivers to {claim.target}.")
        secrets = await self._signing_secrets(tenant_id, claim) if target.is_signed else ()
        message = OutgoingMessage(claim.delivery_id, claim.attempt, EventRecord(*claim.event), claim.config, secrets)
        async with asyncio.timeout(ATTEMPT_S + 2):
            return await target.send(session, message)

    async def _signing_secrets(self, tenant_id: UUID, claim: Claim) -> tuple[str, ...]:
        valid = valid_fields(claim.signing_keys, now())
        version = (claim.secret_revision, ",".join(valid))
        known = self._secrets.get(claim.subscription_id)
        if known is None or known[0] != version:
            found = await self._call(reveal_signing_secrets, tenant_id, claim.subscription_id, valid)
            if not found:
                raise LookupError("The signing secret cannot be read.")
            known = self._secrets[claim.subscription_id] = (version, found)
        return known[1]

    async def _settle_all(self) -> None:
        """Record outcomes in groups: those that come together share one commit."""
        while not (self._stop.is_set() and not self._outcomes and not self._unsettled and not self._in_flight.total()):
            try:
                await asyncio.wait_for(self._settle_soon.wait(), 0.5)
            except TimeoutError:
                continue
            await asyncio.sleep(GATHER_S)
            self._settle_soon.clear()
            batch, self._outcomes = self._outcomes, []
            by_tenant: dict[UUID, list[Outcome]] = {}
            for tenant_id, outcome in batch:
                by_tenant.setdefault(tenant_id, []).append(outcome)
            for tenant_id, outcomes in by_tenant.items():
                # A settlement that fails leaves the lease to end: the deliveries are attempted once more.
                await self._call(_settle_in, tenant_id, outcomes)
            for tenant_id, outcome in batch:
                self._unsettled -= 1
                if not outcome.result.ok:
                    self._let_go(outcome.claim)
                self._failing -= outcome.claim.is_failing
                with self._marks:
                    self._marked.add(tenant_id)
            self._ring()


def _settle_in(tenant_id: UUID, outcomes: list[Outcome]) -> int:
    with tenant_context(get_tenant_lately(str(tenant_id))):
        return settle_attempts(outcomes)


def _guarded(function: Any, *arguments: Any) -> Any:
    """Call in a database thread; a fault is logged and the connection renewed, None says that it failed."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - the loop outlives every fault; what is due is found again
        log.warning(
            "dispatcher_call_failed", call=getattr(function, "__name__", ""), error=f"{type(error).__name__}: {error}"
        )
        connection.close()
        return None
