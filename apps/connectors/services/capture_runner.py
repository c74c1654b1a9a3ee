"""The process that captures: claims captures of all tenants, one thread each, renews leases, measures health."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

import structlog
from django.db import DatabaseError, connection
from psycopg import sql

from apps.connectors.services.capture_health import claim_measurements, tend_capture
from apps.connectors.services.capture_state import claim_captures, renew_lease
from apps.connectors.services.capture_work import CaptureWorker
from apps.core.exceptions import NotFound, PortalError
from apps.tenancy.models import Tenant
from apps.tenancy.selectors import get_tenant_by_id
from apps.tenancy.services.context import tenant_context
from apps.tenancy.services.surveys import survey_tenants

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CaptureOptions:
    """How a process captures.

    Attributes:
        most: captures at a time, each with a thread, a connection to the portal's database and two to its source.
        poll_s: seconds between two looks for captures that nobody works on.
        lease_s: seconds after which the captures of a silent process are taken over.
        measure_s: seconds between two measurements of a slot.
    """

    most: int = 32
    poll_s: float = 1.0
    lease_s: float = 15.0
    measure_s: float = 15.0


class CaptureRunner:
    """Works on captures until it is stopped. Any number of processes share the captures."""

    def __init__(self, options: CaptureOptions | None = None) -> None:
        """Prepare; `run` does the work."""
        self.options = options or CaptureOptions()
        self._owner = f"{socket.gethostname()}:{os.getpid()}"[:120]
        self._stop = threading.Event()
        self._workers: dict[CaptureWorker, threading.Thread] = {}

    def stop(self) -> None:
        """Finish what is under way and return from `run`. May be called from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`; survives restarts of the portal's database and of the sources."""
        health = threading.Thread(target=self._watch_health, name="capture-health", daemon=True)
        health.start()
        next_renewal = 0.0
        while not self._stop.is_set():
            try:
                self._workers = {worker: thread for worker, thread in self._workers.items() if thread.is_alive()}
                self._claim()
                if time.monotonic() >= next_renewal:
                    self._renew()
                    next_renewal = time.monotonic() + self.options.lease_s / 3
            except DatabaseError as error:
                log.warning("capture_runner_disconnected", error=type(error).__name__)
                connection.close()
            self._stop.wait(self.options.poll_s)
        for worker in self._workers:
            worker.stop.set()
        for thread in self._workers.values():
            thread.join(timeout=10)
        health.join(timeout=10)
        connection.close()

    def _claim(self) -> None:
        for tenant in _tenants_with(
            "status = 'running' AND (lease_until IS NULL OR lease_until < clock_timestamp())"
            " AND (retry_at IS NULL OR retry_at <= clock_timestamp())"
        ):
            room = self.options.most - len(self._workers)
            if room <= 0:
                return
            with tenant_context(tenant):
                claimed = claim_captures(self._owner, lease_s=self.options.lease_s, most=room)
            for capture_id, fence in claimed:
                worker = CaptureWorker(tenant, capture_id, fence)
                thread = threading.Thread(target=worker.run, name=f"capture-{capture_id}", daemon=True)
                self._workers[worker] = thread
                thread.start()

    def _renew(self) -> None:
        for worker, thread in self._workers.items():
            if thread.is_alive() and not worker.stop.is_set():
                with tenant_context(worker.tenant):
                    if not renew_lease(worker.capture_id, worker.fence, lease_s=self.options.lease_s):
                        worker.stop.set()

    def _watch_health(self) -> None:
        while not self._stop.wait(self.options.poll_s):
            try:
                for tenant in _tenants_with("measure_at IS NULL OR measure_at <= clock_timestamp()"):
                    with tenant_context(tenant):
                        for capture_id in claim_measurements(every_s=self.options.measure_s):
                            self._tend(capture_id)
            except Exception as error:  # noqa: BLE001 - the guard of the sources' disks outlives every fault
                log.warning("capture_health_failed", error=f"{type(error).__name__}: {error}")
                connection.close()
        connection.close()

    def _tend(self, capture_id: UUID) -> None:
        if self._stop.is_set():
            return
        try:
            tend_capture(capture_id)
        except NotFound:
            return
        except PortalError as error:
            log.warning("capture_not_tended", capture_id=str(capture_id), error=error.message)


def _tenants_with(condition: LiteralString) -> list[Tenant]:
    """Served tenants with a capture for which the condition holds."""

    def question(tenant: Tenant) -> sql.Composable:
        return sql.SQL("SELECT {id}::uuid WHERE EXISTS (SELECT 1 FROM {table} WHERE {condition})").format(
            id=sql.Literal(str(tenant.id)),
            table=sql.Identifier(tenant.schema_name, "connectors_changecapture"),
            condition=sql.SQL(condition),
        )

    return [get_tenant_by_id(row[0]) for row in survey_tenants(question)]
