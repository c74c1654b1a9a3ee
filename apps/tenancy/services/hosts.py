"""Which tenant a request or a socket is for, and whether it can be served now."""

from __future__ import annotations

from apps.tenancy.choices import TenantStatus
from apps.tenancy.exceptions import InvalidDomain, TenantNotReady, TenantSchemaLags, TenantSuspended, UnknownHost
from apps.tenancy.models import Tenant
from apps.tenancy.services.addresses import find_tenant_by_host, is_public_host, normalise_host
from apps.tenancy.services.migrations import has_current_schema

__all__ = ["resolve_host"]


def resolve_host(host: str) -> Tenant | None:
    """The tenant that a host serves; None on the platform's own host. Shared with the WebSocket side.

    Args:
        host: value of the Host header; only an exact match in the domain table makes it a tenant's.

    Raises:
        UnknownHost: no tenant has that domain.
        TenantSuspended, TenantNotReady, TenantSchemaLags: it has one that cannot be served now.
    """
    try:
        name = normalise_host(host)
    except InvalidDomain as error:
        raise UnknownHost() from error
    if is_public_host(name):
        return None
    tenant = find_tenant_by_host(name)
    if tenant is None:
        raise UnknownHost(f"No organisation lives at {name}.")
    if tenant.status == TenantStatus.SUSPENDED:
        raise TenantSuspended()
    if tenant.status == TenantStatus.PROVISIONING:
        raise TenantNotReady()
    if not has_current_schema(tenant):
        raise TenantSchemaLags()
    return tenant
