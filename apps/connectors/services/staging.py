"""Clears away what loads left in the tenant's warehouse or on the disk when they neither finished nor aborted."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings

from apps.connectors.services.sessions import tenant_spill_root
from apps.connectors.sql.endpoint import Endpoint
from apps.connectors.sql.staging import collect_staging
from apps.tenancy.services.context import require_tenant

SPILL_KEPT_S = 86_400.0
"""No step lives as long, so a temporary file of this age belongs to a worker that was killed."""
KEPT_S = 7 * 86_400.0
"""A run can be resumed for a week after it last staged something."""


def collect_warehouse_staging(*, older_than_s: float = KEPT_S, keep: Iterable[UUID] = ()) -> list[str]:
    """Drop forgotten staging tables of the entered tenant.

    Args:
        older_than_s: time since the run last staged a part, seconds.
        keep: runs that may still resume, whatever their age.

    Returns:
        Names of the dropped tables.
    """
    tenant = require_tenant()
    endpoint = Endpoint.from_url(
        settings.WAREHOUSE_URL,
        role=tenant.db_role,
        search_path=tenant.warehouse_schema,
        application="portal collect-staging",
    )
    return collect_staging(endpoint, tenant.warehouse_schema, older_than_s=older_than_s, keep=keep)


def collect_spill(*, older_than_s: float = SPILL_KEPT_S) -> int:
    """Remove the entered tenant's temporary files that killed workers left; returns how many."""
    root = tenant_spill_root(require_tenant().id)
    removed = 0
    for path in root.iterdir() if root.is_dir() else ():
        # Another process may be removing the same.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > older_than_s:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed += 1
    return removed
