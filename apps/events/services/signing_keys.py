"""Signing secrets of subscriptions: made here, kept in the vault, several while a rotation overlaps."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from apps.access.contracts import Actor
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.events.models import EventSubscription
from apps.events.services.signatures import make_secret, to_key
from apps.tenancy.selectors import get_tenant_by_id
from apps.tenancy.services.context import tenant_context
from apps.vault.services.secrets import reveal_secrets, store_secrets

OWNER_TYPE = "event_subscription"


def add_signing_key(subscription: EventSubscription, *, secret: str | None, overlap: timedelta, actor: Actor) -> str:
    """Give the subscription a new secret; former ones stay valid for the overlap. The caller saves the row.

    Args:
        subscription: locked row.
        secret: the tenant's own, at least 24 bytes in base64; made when absent.
        overlap: how long former secrets still sign; those that have ended are deleted.
        actor: needs `secret:write`.

    Returns:
        The secret, which cannot be read again.
    """
    value = secret or make_secret()
    to_key(value)
    moment = now()
    until = moment + overlap
    field = f"k{uuid7().hex}"
    ended = [key for key in subscription.signing_keys if _ends(key) is not None and _ends(key) <= moment]  # type: ignore[operator]
    kept = [key for key in subscription.signing_keys if key not in ended]
    if not overlap:
        ended, kept = [*ended, *kept], []
    store_secrets(OWNER_TYPE, subscription.id, {field: value, **{key["field"]: None for key in ended}}, actor=actor)
    for key in kept:
        if _ends(key) is None or _ends(key) > until:  # type: ignore[operator]
            key["expires_at"] = until.isoformat()
    subscription.signing_keys = [{"field": field, "created_at": moment.isoformat(), "expires_at": None}, *kept]
    subscription.secret_revision += 1
    return value


def reveal_signing_secrets(tenant_id: UUID, subscription_id: UUID, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The secrets of these vault fields, in their order; for signing right now."""
    with tenant_context(get_tenant_by_id(tenant_id)):
        found = reveal_secrets(OWNER_TYPE, subscription_id, purpose="events.sign")
        return tuple(found[field] for field in fields)


def _ends(key: dict[str, Any]) -> datetime | None:
    return datetime.fromisoformat(key["expires_at"]) if key["expires_at"] else None
