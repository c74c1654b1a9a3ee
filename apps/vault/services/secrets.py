"""Store, reveal and delete secrets. There is no read over HTTP: a secret goes in and is used, never shown again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.core.exceptions import Problem
from apps.vault.contracts import SecretDict
from apps.vault.exceptions import SecretInvalid, SecretMissing
from apps.vault.models import DataKey, Secret
from apps.vault.services import crypto
from apps.vault.services.keys import lock_active_key, open_data_key, place_of
from apps.vault.services.scrubbing import remember_values

log = structlog.get_logger(__name__)

NAME = re.compile(r"^[a-zA-Z][a-zA-Z0-9_.:-]{0,59}$")
FIELD = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,99}$")
PURPOSE = re.compile(r"^[a-z][a-z0-9_.:-]{2,79}$")
MAX_VALUE_BYTES = 64 * 1024


@sensitive_variables()
@transaction.atomic
def store_secrets(owner_type: str, owner_id: UUID, values: Mapping[str, str | None], *, actor: Actor) -> list[str]:
    """Encrypt and keep the values; others of the same owner stay as they are.

    Args:
        owner_type: kind of the owner (`connection`).
        owner_id: the owner.
        values: value by field; None deletes that field.
        actor: needs `secret:write`.

    Returns:
        Names of all the owner's secrets afterwards, sorted.

    Raises:
        PermissionDenied: the actor lacks the permission.
        SecretInvalid: a name or value cannot be stored; the message never holds the value.
        KeysDestroyed: the tenant's keys were destroyed.
    """
    check_permission(actor, "secret:write")
    _check_input(owner_type, values)
    kept = {field: value for field, value in values.items() if value is not None}
    gone = sorted(set(values) - set(kept))
    if kept:
        remember_values(kept.values())
        key = lock_active_key()
        data_key = open_data_key(key)
        Secret.objects.bulk_create(
            [
                Secret(
                    owner_type=owner_type,
                    owner_id=owner_id,
                    field=field,
                    key_version=key.version,
                    ciphertext=crypto.encrypt(
                        data_key, value.encode(), place_of(owner_type, owner_id, field, key.version)
                    ),
                )
                for field, value in sorted(kept.items())
            ],
            update_conflicts=True,
            unique_fields=["owner_type", "owner_id", "field"],
            update_fields=["key_version", "ciphertext", "updated_at"],
        )
    if gone:
        Secret.objects.filter(owner_type=owner_type, owner_id=owner_id, field__in=gone).delete()
    audit_sink.record(
        actor=actor,
        action="vault.secrets_stored",
        target_type=owner_type,
        target_id=owner_id,
        summary=f"Stored {len(kept)} and removed {len(gone)} secrets of {owner_type} {owner_id}.",
        facts={"stored": sorted(kept), "removed": gone},
    )
    log.info("secrets_stored", owner_type=owner_type, owner_id=str(owner_id), stored=sorted(kept), removed=gone)
    return list_secret_names(owner_type, owner_id)


@sensitive_variables()
def reveal_secrets(owner_type: str, owner_id: UUID, *, purpose: str) -> SecretDict:
    """All secrets of the owner, decrypted, for use right now.

    Args:
        owner_type, owner_id: the owner.
        purpose: why, as a dotted name (`connection.check`); logged, and audited if `settings.VAULT_AUDITED_PURPOSES`
            (list of patterns, default none) says so.

    Returns:
        A `SecretDict`; empty when the owner has no secrets.

    Raises:
        SecretInvalid: the purpose is not a dotted name.
        SecretUnreadable: a row was changed or copied from elsewhere.
        KeysDestroyed, KeyEncryptionKeyMissing: its key cannot be opened.
    """
    if not PURPOSE.match(purpose):
        raise SecretInvalid("The purpose of a reveal is a dotted lower-case name.", field="purpose", value=purpose)
    rows = list(Secret.objects.filter(owner_type=owner_type, owner_id=owner_id).order_by("field"))
    keys = {key.version: key for key in DataKey.objects.filter(version__in={row.key_version for row in rows})}
    opened = {version: open_data_key(key) for version, key in keys.items()}
    values: dict[str, str] = {}
    for row in rows:
        if row.key_version not in opened:
            raise SecretMissing(f"Data key {row.key_version} is gone.", owner_type=owner_type, secret=row.field)
        place = place_of(owner_type, owner_id, row.field, row.key_version)
        values[row.field] = crypto.decrypt(opened[row.key_version], bytes(row.ciphertext), place).decode()
    remember_values(values.values())
    facts = {"purpose": purpose, "names": sorted(values)}
    log.info("secrets_revealed", owner_type=owner_type, owner_id=str(owner_id), **facts)
    if any(fnmatchcase(purpose, pattern) for pattern in getattr(settings, "VAULT_AUDITED_PURPOSES", ())):
        audit_sink.record(
            actor=Actor.system(purpose),
            action="vault.secrets_revealed",
            target_type=owner_type,
            target_id=owner_id,
            summary=f"Used {len(values)} secrets of {owner_type} {owner_id} for {purpose}.",
            facts=facts,
        )
    return SecretDict(values)


def list_secret_names(owner_type: str, owner_id: UUID) -> list[str]:
    """Names of the owner's secrets, sorted; nothing is decrypted."""
    rows = Secret.objects.filter(owner_type=owner_type, owner_id=owner_id)
    return sorted(rows.values_list("field", flat=True))


def list_secret_names_by_owner(owner_type: str, owner_ids: list[UUID]) -> dict[UUID, list[str]]:
    """Names by owner, in one query, for lists."""
    names: dict[UUID, list[str]] = {owner_id: [] for owner_id in owner_ids}
    rows = Secret.objects.filter(owner_type=owner_type, owner_id__in=owner_ids).order_by("field")
    for owner_id, field in rows.values_list("owner_id", "field"):
        names[owner_id].append(field)
    return names


@transaction.atomic
def delete_secrets(owner_type: str, owner_id: UUID, *, actor: Actor) -> int:
    """Delete every secret of the owner; may be called twice.

    Returns:
        How many there were.
    """
    check_permission(actor, "secret:write")
    count: int = Secret.objects.filter(owner_type=owner_type, owner_id=owner_id).delete()[0]
    if count:
        audit_sink.record(
            actor=actor,
            action="vault.secrets_deleted",
            target_type=owner_type,
            target_id=owner_id,
            summary=f"Deleted {count} secrets of {owner_type} {owner_id}.",
            facts={"count": count},
        )
    return count


@sensitive_variables()
def _check_input(owner_type: str, values: Mapping[str, str | None]) -> None:
    problems: list[Problem] = []
    if not NAME.match(owner_type):
        problems.append(Problem("owner_type", "vault.name_invalid", "An owner type is a short identifier."))
    for field, value in values.items():
        path = f"secrets.{field}"
        if not isinstance(field, str) or not FIELD.match(field):
            problems.append(Problem("secrets", "vault.name_invalid", "A secret's name is a short identifier."))
        elif value is not None and not isinstance(value, str):
            problems.append(Problem(path, "vault.not_text", "A secret is text; write null to delete it."))
        elif value is not None and not value:
            problems.append(Problem(path, "vault.empty", "A secret may not be empty; write null to delete it."))
        elif value is not None and len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
            problems.append(Problem(path, "vault.too_long", f"A secret may have at most {MAX_VALUE_BYTES} bytes."))
        elif value is not None and not _is_encodable(value):
            problems.append(Problem(path, "vault.not_text", "A secret is valid Unicode text."))
    if problems:
        raise SecretInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
