"""API keys: made once, shown once, checked in one query."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db import transaction
from django.db.models import Func, OuterRef, Q

from apps.access.contracts import Actor
from apps.access.exceptions import ApiKeyNotFound, ExpiryInvalid, PermissionDenied, ScopeNotHeld, UnknownPermission
from apps.access.models import ApiKey, Role
from apps.access.registries import audit_sink, permissions
from apps.access.services.permissions import check_permission
from apps.core.clock import now

__all__ = ["authenticate_api_key", "create_api_key", "revoke_api_key"]

ALPHABET = string.ascii_lowercase + string.digits
PREFIX_CHARS = 10
SECRET_CHARS = 48
LAST_USED_EVERY = timedelta(minutes=1)
LONGEST_LIFE = timedelta(days=366 * 2)
# Compared against when the prefix is unknown, so that the answer takes as long as for a known one.
NO_HASH = hashlib.sha256(b"").hexdigest()


def _random(chars: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(chars))


def hash_key(key: str) -> str:
    """What is stored of a key. It has 248 bits of randomness, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode()).hexdigest()


@transaction.atomic
def create_api_key(
    name: str, *, scopes: list[str], expires_at: datetime | None = None, actor: Actor
) -> tuple[ApiKey, str]:
    """Make a key for programs.

    Args:
        name: what it is for.
        scopes: permission codes, all of which the actor must hold.
        expires_at: aware; at most two years ahead; None for no expiry.
        actor: a person with `apikey:manage`; a key cannot make keys.

    Returns:
        The row and the key itself, which cannot be read again.

    Raises:
        PermissionDenied, UnknownPermission, ScopeNotHeld, ExpiryInvalid.
    """
    check_permission(actor, "apikey:manage")
    if actor.kind != "user" or actor.user_id is None:
        raise PermissionDenied("Only a person can create API keys.", permission="apikey:manage")
    for scope in scopes:
        if scope not in permissions:
            raise UnknownPermission(f"There is no permission {scope!r}.", field="scopes", value=scope)
        if not actor.has(scope):
            raise ScopeNotHeld(f"You do not have {scope} yourself.", field="scopes", value=scope, permission=scope)
    if expires_at is not None and not now() < expires_at <= now() + LONGEST_LIFE:
        raise ExpiryInvalid(field="expires_at", value=expires_at, remedy="Choose a time within the next two years.")
    prefix = _random(PREFIX_CHARS)
    key = f"aip_{prefix}_{_random(SECRET_CHARS)}"
    row = ApiKey.objects.create(
        name=name,
        prefix=prefix,
        key_hash=hash_key(key),
        scopes=sorted(set(scopes)),
        created_by_id=actor.user_id,
        expires_at=expires_at,
    )
    audit_sink.record(
        actor=actor,
        action="access.api_key.created",
        target_type="api_key",
        target_id=row.id,
        summary=f"Created API key {name}",
        facts={"scopes": row.scopes, "expires_at": expires_at.isoformat() if expires_at else None},
    )
    return row, key


@transaction.atomic
def revoke_api_key(api_key_id: UUID, *, actor: Actor) -> None:
    """Make a key useless at once; revoking it again changes nothing.

    Raises:
        PermissionDenied, ApiKeyNotFound.
    """
    check_permission(actor, "apikey:manage")
    row = ApiKey.objects.select_for_update().filter(id=api_key_id).first()
    if row is None:
        raise ApiKeyNotFound(value=api_key_id)
    if row.revoked_at is not None:
        return
    row.revoked_at = now()
    row.save(update_fields=["revoked_at"])
    audit_sink.record(
        actor=actor,
        action="access.api_key.revoked",
        target_type="api_key",
        target_id=row.id,
        summary=f"Revoked API key {row.name}",
    )


def authenticate_api_key(token: str) -> tuple[ApiKey, Actor] | None:
    """The key and its actor, or None for an unknown, revoked or expired one.

    One query by the unique prefix brings the key, its creator and the creator's permissions; a second one notes the
    use, at most once a minute. The hash is compared in constant time, also when the prefix is unknown.
    """
    parts = token.split("_")
    prefix = parts[1] if len(parts) == 3 and parts[0] == "aip" else ""
    granted = Role.objects.filter(users=OuterRef("created_by_id")).values(code=Func("permissions", function="unnest"))
    key = (
        ApiKey.objects.select_related("created_by")
        .annotate(creator_permissions=ArraySubquery(granted))
        .filter(prefix=prefix)
        .first()
    )
    matches = hmac.compare_digest(key.key_hash if key else NO_HASH, hash_key(token))
    if key is None or not matches or key.status != "active" or not key.created_by.is_active:
        return None
    moment = now()
    if key.last_used_at is None or moment - key.last_used_at > LAST_USED_EVERY:
        ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=moment - LAST_USED_EVERY), pk=key.pk).update(
            last_used_at=moment
        )
    held = frozenset(key.scopes) & frozenset(key.creator_permissions)
    name = f"{key.name} ({key.created_by.email})"
    return key, Actor(kind="api_key", id=key.id, name=name, permissions=held, user_id=key.created_by_id)
