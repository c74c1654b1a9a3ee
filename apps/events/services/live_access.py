"""Who is behind a socket, asked of the tenant's own schema: at the handshake and again every 30 seconds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from apps.access.contracts import Actor
from apps.access.services.http import actor_for_user
from apps.core.exceptions import PortalError
from apps.tenancy.choices import TenantStatus
from apps.tenancy.contracts import TenantRef
from apps.tenancy.selectors import get_tenant_by_id
from apps.tenancy.services.context import public_context, tenant_context
from apps.tenancy.services.hosts import resolve_host

CHECK_THREADS = 4
executor = ThreadPoolExecutor(CHECK_THREADS, thread_name_prefix="live-check")
"""Threads that ask the database for sockets: bounds their connections, and keeps a rush of handshakes (after a restart)
from the threads that serve pages."""


def find_tenant_of_host(host: str) -> TenantRef | None:
    """The tenant that an exact host name serves now; None for any other host, the platform's included."""
    with public_context():
        try:
            return resolve_host(host)
        except PortalError:
            return None


def find_session_actor(tenant_id: UUID, session_key: str) -> Actor | None:
    """The person whose session that is in this tenant, with the permissions of this moment.

    Args:
        tenant_id: the tenant of the host; a session of another tenant is unknown in its schema.
        session_key: value of the session cookie.

    Returns:
        None when the session is over, the person inactive, or the tenant not served any more.
    """
    try:
        tenant = get_tenant_by_id(tenant_id)
    except PortalError:
        return None
    if tenant.status != TenantStatus.ACTIVE:
        return None
    with tenant_context(tenant):
        request: Any = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
        user: Any = get_user(request)
        if not user.is_authenticated or not user.is_active:
            return None
        return actor_for_user(user)
