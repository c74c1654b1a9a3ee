"""Signing secrets of subscriptions: made here, kept in the vault, several while a rotation overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from apps.access.contracts import Actor
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.tenancy.selectors import get_tenant_by_id
from apps.tenancy.services.context import tenant_context
from apps.vault.services.secrets import reveal_secrets, store_secrets

SUBSCRIPTION, ENDPOINT = "event_subscription", "webhook_endpoint"
"""Owner types in the vault."""


class KeyHolder(Protocol):
    """A row that has signing keys."""

    id: UUID
    signing_keys: list[dict[str, Any]]
    secret_revision: int


def add_signing_key(holder: KeyHolder, owner_type: str, value: str, *, overlap: timedelta, actor: Actor) -> None:
    """Give the row a new secret; former ones stay valid for the overlap. The caller has locked and saves the row.

    Args:
        holder: the row; its keys change.
        owner_type: of the vault.
        value: the secret.
        overlap: how long former secrets still count; those that have ended are deleted.
        actor: needs `secret:write`.
    """
    moment = now()
    until = moment + overlap
    field = f"k{uuid7().hex}"
    ended = [key for key in holder.signing_keys if _ends(key) is not None and _ends(key) <= moment]  # type: ignore[operator]
    kept = [key for key in holder.signing_keys if key not in ended]
    if not overlap:
        ended, kept = [*ended, *kept], []
    store_secrets(owner_type, holder.id, {field: value, **{key["field"]: None for key in ended}}, actor=actor)
    for key in kept:
        if _ends(key) is None or _ends(key) > until:  # type: ignore[operator]
            key["expires_at"] = until.isoformat()
    holder.signing_keys = [{"field": field, "created_at": moment.isoformat(), "expires_at": None}, *kept]
    holder.secret_revision += 1


def reveal_signing_secrets(tenant_id: UUID, subscription_id: UUID, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The secrets of these vault fields of a subscription, in their order; for signing right now."""
    with tenant_context(get_tenant_by_id(tenant_id)):
        found = reveal_secrets(SUBSCRIPTION, subscription_id, purpose="events.sign")
        return tuple(found[field] for field in fields)


def valid_fields(keys: Sequence[Mapping[str, Any]], moment: datetime) -> tuple[str, ...]:
    """Vault fields of the keys that count at that moment, newest first."""
    return tuple(
        str(key["field"])
        for key in keys
        if key["expires_at"] is None or datetime.fromisoformat(key["expires_at"]) > moment
    )


def _ends(key: dict[str, Any]) -> datetime | None:
    return datetime.fromisoformat(key["expires_at"]) if key["expires_at"] else None
