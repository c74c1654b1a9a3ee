"""Who consumes what: leases with a fencing number, on the database's clock."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from psycopg import sql

from apps.connectors.base import ConnectorBase
from apps.connectors.contracts import ConsumeRequest
from apps.connectors.services.sessions import open_connection
from apps.core.exceptions import PortalError
from apps.core.services.hints import send_hint
from apps.integrations.selectors import resolve_binding
from apps.messaging.choices import ConsumerStatus
from apps.messaging.models import Consumer
from apps.messaging.services.keeping import LEASE_S, lock_lease
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import require_tenant
from apps.tenancy.services.surveys import survey_tenants

BACKOFF_CAP_S = 60.0
PREFETCH = 200


@dataclass(frozen=True)
class Lease:
    """A consumer that a process holds for a while; what it does counts while its fence is the row's."""

    tenant_id: UUID
    consumer_id: UUID
    fence: int
    name: str
    max_per_second: int
    request: ConsumeRequest


def list_tenants_with_idle_consumers() -> list[UUID]:
    """Ids of served tenants with an active consumer that nobody holds and whose time has come."""

    def question(tenant: Tenant) -> sql.Composable:
        return sql.SQL(
            "SELECT {id}::uuid WHERE EXISTS (SELECT 1 FROM {table} WHERE status = 'active'"
            " AND (lease_until IS NULL OR lease_until < clock_timestamp())"
            " AND (next_attempt_at IS NULL OR next_attempt_at <= clock_timestamp()))"
        ).format(id=sql.Literal(str(tenant.id)), table=sql.Identifier(tenant.schema_name, "messaging_consumer"))

    return [row[0] for row in survey_tenants(question)]


@transaction.atomic
def claim_consumers(limit: int, *, owner: str) -> list[Lease]:
    """Take up to so many idle consumers of the current tenant, those that wait longest first."""
    tenant_id = require_tenant().id
    rows = (
        Consumer.objects.select_for_update(skip_locked=True)
        .filter(status=ConsumerStatus.ACTIVE)
        .filter(Q(lease_until=None) | Q(lease_until__lt=Now()))
        .filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=Now()))
        .order_by(F("next_attempt_at").asc(nulls_first=True), "id")[:limit]
    )
    found = []
    for row in rows:
        row.fence += 1
        Consumer.objects.filter(id=row.id).update(
            fence=row.fence, lease_owner=owner, lease_until=Now() + timedelta(seconds=LEASE_S), connected_at=None
        )
        request = ConsumeRequest(row.source, row.broker_name, from_start=row.from_start, prefetch=PREFETCH)
        found.append(Lease(tenant_id, row.id, row.fence, row.name, row.max_per_second, request))
    return found


def open_connector(lease: Lease) -> ConnectorBase:
    """The consumer's system, as its environment says now; credentials from the vault.

    Raises:
        LeaseLost: the consumer is somebody else's.
        BindingMissing, ConnectionNotFound: there is no such connection any more; and what `open_connection` raises.
    """
    with transaction.atomic():
        row = lock_lease(lease.consumer_id, lease.fence)
    return open_connection(resolve_binding(row.environment_id, row.connection), "consume")


@transaction.atomic
def note_alive(lease: Lease, *, lag: int | None, connected: bool = False) -> None:
    """Renew the lease and say how far behind it is.

    Args:
        lease: the holder's.
        lag: messages that wait at the broker, where known.
        connected: whether this is the moment in which the connection was made.

    Raises:
        LeaseLost: the consumer was paused, changed or taken over.
    """
    lock_lease(lease.consumer_id, lease.fence)
    changes: dict[str, Any] = {"lag": lag, "lease_until": Now() + timedelta(seconds=LEASE_S)}
    if connected:
        changes |= {"connected_at": Now(), "next_attempt_at": None}
        send_hint(require_tenant().id, "consumer", lease.consumer_id)
    else:
        # It has held for a while: what connects and fails at once must not begin its back-off anew each time.
        changes |= {"failures": 0, "last_error": None}
    Consumer.objects.filter(id=lease.consumer_id).update(**changes)


@transaction.atomic
def release(lease: Lease, error: PortalError | None = None) -> None:
    """Let the consumer go: at once for another process, or after a back-off when it failed.

    Raises:
        LeaseLost: somebody else has it already.
    """
    row = lock_lease(lease.consumer_id, lease.fence)
    changes: dict[str, Any] = {"lease_until": None, "lease_owner": "", "connected_at": None, "lag": None}
    if error is not None:
        delay_s = min(BACKOFF_CAP_S, 2.0 ** min(row.failures, 10)) * random.uniform(0.8, 1.2)
        changes |= {
            "failures": row.failures + 1,
            "next_attempt_at": Now() + timedelta(seconds=delay_s),
            "last_failed_at": Now(),
            "last_error": {"code": error.code, "message": error.message[:500], "remedy": error.remedy or ""},
        }
    Consumer.objects.filter(id=row.id).update(**changes)
    send_hint(require_tenant().id, "consumer", row.id)
