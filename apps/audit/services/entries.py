"""Write audit entries, in the transaction of the change they describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from apps.access.contracts import Actor
from apps.audit.models import AuditEntry
from apps.audit.services.canonical import clean_text, format_time, normalise
from apps.audit.services.chain import compute_content_hash
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.tenancy.services.context import require_tenant
from apps.tenancy.services.rows import Statements


def record_audit(
    *,
    actor: Actor,
    action: str,
    target_type: str,
    target_id: object,
    summary: str,
    facts: Mapping[str, Any] | None = None,
    into: Statements | None = None,
) -> UUID:
    """Append an entry to the current tenant's log.

    Call it inside the transaction of the change, at any point of it: the entry is chained when that commits and
    vanishes when it rolls back.

    Args:
        actor: who did it.
        action: dotted, past tense (`flow.published`).
        target_type, target_id: what it was done to.
        summary: one sentence for a person, at most 500 characters.
        facts: JSON-able details; decimals, dates and ids become text. Never put a secret here.
        into: statements of the caller's transaction that it is to travel with; sent at once when absent.

    Returns:
        Id of the entry.

    Raises:
        TenantContextMissing: no tenant is entered.
        AuditFactsInvalid: the facts have no JSON form.
    """
    entry = AuditEntry(
        id=uuid7(),
        at=now(),
        actor_kind=str(getattr(actor.kind, "value", actor.kind)),
        actor_id=actor.id,
        actor_name=clean_text(actor.name)[:254],
        action=clean_text(action)[:100],
        target_type=clean_text(target_type)[:60],
        target_id=clean_text(str(target_id))[:100],
        summary=clean_text(summary)[:500],
        facts=normalise(facts or {}),
        request_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
    )
    entry.content_hash = content_hash_of(entry, str(require_tenant().id))
    if into is not None:
        into.insert([entry])
        return entry.id
    with transaction.atomic():
        # `atomic` so that outside a transaction the insert and the deferred chaining are one all the same.
        entry.save(force_insert=True)
    return entry.id


def content_hash_of(entry: AuditEntry, tenant_id: str) -> bytes:
    """Content hash from an entry's columns."""
    return compute_content_hash(
        tenant_id=tenant_id,
        entry_id=str(entry.id),
        at=format_time(entry.at),
        actor_kind=entry.actor_kind,
        actor_id=None if entry.actor_id is None else str(entry.actor_id),
        actor_name=entry.actor_name,
        action=entry.action,
        target_type=entry.target_type,
        target_id=entry.target_id,
        summary=entry.summary,
        facts=entry.facts,
        request_id=entry.request_id,
    )
