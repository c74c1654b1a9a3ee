"""Opens a connection: settings from the table, credentials from the vault, limits from the tenant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from apps.connectors.base import ConnectorBase
from apps.connectors.contracts import ConnectionContext
from apps.connectors.exceptions import ConnectionNotFound
from apps.connectors.registries import connector_registry
from apps.connectors.selectors import get_connection_row
from apps.connectors.services.breakers import admit
from apps.connectors.services.watching import Watch, watch
from apps.tenancy.services.context import require_tenant
from apps.vault.services.scrubbing import remember_values
from apps.vault.services.secrets import reveal_secrets

OWNER_TYPE = "connection"
CHECK = "check"


def open_connection(connection_id: UUID, purpose: str, *, time_limit_s: float = 0.0) -> ConnectorBase:
    """The connected system of a saved connection; use as a context manager, or call `disconnect`.

    Args:
        connection_id: a connection in use.
        purpose: why (`check`, `read`, `write`, `design`, `preview`); logged when credentials are revealed.
        time_limit_s: how long the caller can wait for everything it asks; 0 = as long as it takes.

    Raises:
        ConnectionNotFound: none with that id, or it is archived.
        CircuitOpen: it failed several times in a row, and its pause is not over. A check probes all the same.
        EgressDenied, HostUnknown, SystemUnavailable, CredentialsRefused, TlsFailed: it cannot be reached.
    """
    row = get_connection_row(connection_id)
    if row.archived_at is not None:
        raise ConnectionNotFound(
            f"The connection {row.name!r} is archived.", value=connection_id, remedy="Choose another connection."
        )
    watcher = Watch(admit(row, force=purpose == CHECK))
    try:
        secrets = reveal_secrets(OWNER_TYPE, row.id, purpose=f"connection.{purpose}")
        opened = connect(
            row.connector, row.config, secrets, purpose=purpose, connection_id=row.id, time_limit_s=time_limit_s
        )
    except BaseException as error:
        watcher.failed(error)
        watcher.close()
        raise
    return watch(opened, watcher)


def connect(
    connector: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    *,
    purpose: str,
    connection_id: UUID | None = None,
    time_limit_s: float = 0.0,
) -> ConnectorBase:
    """A connected system from settings that may not be saved yet.

    Raises:
        UnknownType: no such connector is installed; and what `ConnectorBase.connect` raises.
    """
    remember_values(secrets.values())
    opened = connector_registry.get(connector).create(build_context(purpose, connection_id, time_limit_s))
    try:
        opened.connect(config, secrets)
    except BaseException:
        opened.disconnect()
        raise
    return opened


def build_context(purpose: str, connection_id: UUID | None = None, time_limit_s: float = 0.0) -> ConnectionContext:
    """What a connector may know about the entered tenant."""
    tenant = require_tenant()
    return ConnectionContext(
        tenant_id=tenant.id,
        connection_id=connection_id,
        purpose=purpose,
        warehouse_url=settings.WAREHOUSE_URL,
        warehouse_role=tenant.db_role,
        warehouse_schema=tenant.warehouse_schema,
        files_root=str(tenant_files_root(tenant.id)),
        spill_root=str(tenant_spill_root(tenant.id)),
        time_limit_s=time_limit_s,
    )


def tenant_files_root(tenant_id: UUID) -> Path:
    """The tenant's own folder; its name is the tenant's id, so that no slug can lead into another's."""
    return Path(settings.FILES_ROOT) / str(tenant_id)


def tenant_spill_root(tenant_id: UUID) -> Path:
    """Where the tenant's temporary files lie while they are worked on."""
    return Path(settings.SPILL_ROOT) / str(tenant_id)
