"""Data keys of the current tenant: which one encrypts, and how to open the others."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from apps.core.exceptions import TransientError
from apps.tenancy.services.context import require_tenant
from apps.vault.choices import KeyStatus
from apps.vault.exceptions import KeysDestroyed
from apps.vault.models import DataKey
from apps.vault.services import crypto

ATTEMPTS = 5


def load_key_ring() -> crypto.KeyRing:
    """The key-encryption keys of `settings.VAULT_KEYS`; the first one wraps.

    Raises:
        VaultNotConfigured: none is set, or one is malformed.
    """
    return crypto.KeyRing(settings.VAULT_KEYS)


def lock_active_key() -> DataKey:
    """The key that encrypts, share-locked to the end of the caller's transaction; made on first use.

    The lock is what makes a rotation safe: it cannot destroy a key while a writer still has work under it in flight.

    Raises:
        KeysDestroyed: the tenant's keys were crypto-shredded.
        TransientError: five rotations in a row got in between.
    """
    for _attempt in range(ATTEMPTS):
        # A rotation that commits while this waits makes the locked row fail the filter: then look again.
        locked: list[DataKey] = list(
            DataKey.objects.raw("SELECT * FROM vault_datakey WHERE status = %s FOR SHARE", [KeyStatus.ACTIVE])
        )
        if locked:
            return locked[0]
        states = set(DataKey.objects.values_list("status", flat=True))
        if KeyStatus.ACTIVE in states:
            continue
        if states:
            raise KeysDestroyed
        add_data_key(1)
    raise TransientError("The vault's keys are being rotated.")


@sensitive_variables()
def add_data_key(version: int) -> None:
    """Insert an active key of that version; does nothing if somebody else just did."""
    tenant = require_tenant()
    kek_id, wrapped = load_key_ring().wrap(crypto.new_data_key(), tenant_id=str(tenant.id), version=version)
    DataKey.objects.bulk_create(
        [DataKey(version=version, status=KeyStatus.ACTIVE, kek_id=kek_id, wrapped_key=wrapped)], ignore_conflicts=True
    )


@sensitive_variables()
def open_data_key(key: DataKey) -> bytes:
    """The key itself.

    Raises:
        KeysDestroyed: it was destroyed.
        KeyEncryptionKeyMissing: the key that wraps it is not configured.
    """
    if key.status == KeyStatus.DESTROYED:
        raise KeysDestroyed(key_version=key.version)
    return load_key_ring().unwrap(
        bytes(key.wrapped_key), key_id=key.kek_id, tenant_id=str(require_tenant().id), version=key.version
    )


def place_of(owner_type: str, owner_id: UUID, field: str, key_version: int) -> bytes:
    """The associated data of a secret: tenant, owner, field, key version."""
    return crypto.build_associated_data(
        "secret", str(require_tenant().id), owner_type, str(owner_id), field, str(key_version)
    )


def ensure_data_key() -> DataKey:
    """The active key, made if the tenant has none; for provisioning."""
    with transaction.atomic():
        return lock_active_key()
