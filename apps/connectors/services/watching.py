"""Watches the calls of an opened connection for its circuit breaker.

The connector stays what it is; the methods that reach the system are replaced on the instance, so that whatever else a
connector offers is untouched. Nothing is written while all goes well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from apps.connectors.base import ConnectorBase
from apps.connectors.contracts import CheckResult
from apps.connectors.exceptions import (
    ColumnGone,
    ConnectorFailed,
    CredentialsRefused,
    DuplicateKeys,
    EntityGone,
    HostUnknown,
    OutOfSpace,
    SchemaChanged,
    SystemUnavailable,
    TransactionConflict,
    UnreadableInput,
    WriteRefused,
)
from apps.connectors.services.breakers import Admission, readmit, record_answer, record_failure, release_probe
from apps.core.exceptions import PortalError
from apps.core.services.egress import EgressFailed
from apps.tenancy.services.context import require_tenant, tenant_context

log = structlog.get_logger(__name__)

FAULTS = (SystemUnavailable, EgressFailed, HostUnknown)
"""They say that the system is not there, or overloaded."""
ANSWERS = (
    ColumnGone,
    ConnectorFailed,
    CredentialsRefused,
    DuplicateKeys,
    EntityGone,
    OutOfSpace,
    SchemaChanged,
    TransactionConflict,
    UnreadableInput,
    WriteRefused,
)
"""They say that it is: it refused something."""
SEEN = "seen_by_breaker"
FAULT_CODES = frozenset(error.code for error in FAULTS)

CONNECTOR_CALLS = ("check", "discover", "describe", "read", "query", "stats", "open_snapshot")
WRITER_CALLS = ("stage", "stage_select", "staged_stats", "duplicates", "finish", "abort")
QUIET_CALLS = ("plan_partitions", "watermark", "open_writer")
"""Some systems answer these without being asked, so that their success says nothing."""


class Watch:
    """What one opened connection tells its breaker."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._admitted = True
        self._silent = not (admission.probe is not None or admission.failed_before)
        self._tenant = require_tenant()
        self._thread = threading.get_ident()

    def enter(self) -> None:
        """Before a call: after a failure of ours the breaker is asked again.

        Raises:
            CircuitOpen: it has opened.
        """
        if self._admitted or threading.get_ident() != self._thread:
            return
        self._admission = readmit(self._admission.connection_id)
        self._admitted, self._silent = True, False

    def answered(self) -> None:
        """The system answered; written only when that changes something."""
        if not self._silent:
            self._write(lambda: record_answer(self._admission))
            self._silent = True

    def failed(self, error: BaseException) -> None:
        """A call ended with an error; the first connection that sees it counts it."""
        if not isinstance(error, PortalError) or _seen(error):
            return
        if isinstance(error, ANSWERS):
            self.answered()
        elif isinstance(error, FAULTS):
            vars(error)[SEEN] = True
            self.fail(error)

    def fail(self, error: PortalError) -> None:
        """Count one failure."""
        self._write(lambda: record_failure(self._admission, error))
        self._admitted, self._silent = False, True

    def close(self) -> None:
        """The connection is closed: a probe that learnt nothing gives way."""
        if self._admission.probe is not None and not self._silent:
            self._write(lambda: release_probe(self._admission))
            self._silent = True

    def _write(self, write: Callable[[], None]) -> None:
        """A fault of the portal's own database must not hide the system's."""
        try:
            if threading.get_ident() == self._thread:
                write()
                return
            # Rows are read by threads that have no database connection of their own as a rule.
            borrowed = connection.connection is not None
            try:
                with tenant_context(self._tenant):
                    write()
            finally:
                if not borrowed:
                    connection.close()
        except DatabaseError as error:
            log.warning("circuit_not_recorded", connection=str(self._admission.connection_id), error=str(error)[:200])


def watch(opened: ConnectorBase, watcher: Watch) -> ConnectorBase:
    """Report the connector's calls from now on."""
    for name in (*CONNECTOR_CALLS, *QUIET_CALLS):
        _replace(opened, name, watcher, says_something=name in CONNECTOR_CALLS)
    session, disconnect = opened.session, opened.disconnect

    @contextmanager
    def watched_session() -> Iterator[Any]:
        watcher.enter()
        try:
            with session() as found:
                yield found
        except BaseException as error:
            watcher.failed(error)
            raise

    def watched_disconnect() -> None:
        watcher.close()
        disconnect()

    # On the instance, on purpose: see the module. mypy knows methods of classes only.
    opened.session = watched_session  # type: ignore[method-assign]
    opened.disconnect = watched_disconnect  # type: ignore[method-assign]
    return opened


def _replace(target: Any, name: str, watcher: Watch, *, says_something: bool) -> None:
    method = getattr(target, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        watcher.enter()
        try:
            found = method(*args, **kwargs)
        except BaseException as error:
            watcher.failed(error)
            raise
        if isinstance(found, CheckResult):
            _judge(watcher, found)
        elif isinstance(found, Iterator):
            return _rows(found, watcher)
        elif name == "open_writer":
            for call in WRITER_CALLS:
                _replace(found, call, watcher, says_something=True)
        elif says_something:
            watcher.answered()
        return found

    setattr(target, name, watched)


def _judge(watcher: Watch, result: CheckResult) -> None:
    """A check gives its failure as a result."""
    if not result.ok and result.code in FAULT_CODES:
        watcher.fail(SystemUnavailable(result.message, remedy=result.remedy))
    else:
        watcher.answered()


def _rows(found: Iterable[Any], watcher: Watch) -> Iterator[Any]:
    try:
        for row in found:
            watcher.answered()
            yield row
        watcher.answered()
    except BaseException as error:
        watcher.failed(error)
        raise
    finally:
        if hasattr(found, "close"):
            found.close()


def _seen(error: BaseException) -> bool:
    """Whether another connection has counted it: a target that pulls a source's rows passes its errors on."""
    found: BaseException | None = error
    for _depth in range(10):
        if found is None:
            return False
        if vars(found).get(SEEN):
            return True
        found = found.__cause__ or found.__context__
    return False
