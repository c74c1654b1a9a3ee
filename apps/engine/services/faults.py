"""Faults of steps as errors with a code and a remedy."""

from __future__ import annotations

import errno
import os

import structlog

from apps.core.exceptions import PortalError
from apps.engine.exceptions import SpillFull, UnexpectedFault

log = structlog.get_logger(__name__)


def to_portal_error(error: BaseException, run: str, path: str, name: str) -> PortalError:
    """Any fault as an error with a code and a remedy; what nobody foresaw is logged with its traceback."""
    if isinstance(error, PortalError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpillFull()
    # DuckDB has one class for every I/O fault; the disk-full one is known by the system's own words.
    if os.strerror(errno.ENOSPC).lower() in str(error).lower():
        return SpillFull()
    log.exception("step_failed", run=run, step=path, exc_info=error)
    return UnexpectedFault(f"{name}: {type(error).__name__}: {error}"[:500])
