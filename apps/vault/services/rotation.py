"""Key rotation and destruction. Every job works in small transactions, skips what is done and may be killed."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.views.decorators.debug import sensitive_variables

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.core.clock import now
from apps.tenancy.services.context import require_tenant
from apps.vault.choices import KeyStatus
from apps.vault.contracts import RotationProgress
from apps.vault.models import DataKey, Secret
from apps.vault.services import crypto
from apps.vault.services.keys import add_data_key, load_key_ring, lock_active_key, open_data_key, place_of

log = structlog.get_logger(__name__)

BATCH_ROWS = 200
Progress = Callable[[RotationProgress], None]


def _ignore(_progress: RotationProgress) -> None:
    """Progress nobody looks at."""


@sensitive_variables()
def rewrap_data_keys(*, actor: Actor, on_progress: Progress = _ignore) -> int:
    """Wrap each data key of the current tenant by the first key of VAULT_KEYS; the secrets themselves stay untouched.

    Afterwards the former key-encryption key may leave VAULT_KEYS. Repeatable: keys that are wrapped by it are skipped.

    Returns:
        How many keys were re-wrapped.
    """
    check_permission(actor, "tenant:manage")
    ring = load_key_ring()
    tenant_id = str(require_tenant().id)
    due = list(
        DataKey.objects.exclude(status=KeyStatus.DESTROYED).exclude(kek_id=ring.active_id).values_list("id", flat=True)
    )
    done = 0
    for key_id in due:
        with transaction.atomic():
            key = DataKey.objects.select_for_update().get(id=key_id)
            if key.status == KeyStatus.DESTROYED or key.kek_id == ring.active_id:
                continue
            former = key.kek_id
            key.kek_id, key.wrapped_key = ring.wrap(open_data_key(key), tenant_id=tenant_id, version=key.version)
            key.save(update_fields=["kek_id", "wrapped_key", "updated_at"])
            audit_sink.record(
                actor=actor,
                action="vault.key_rewrapped",
                target_type="data_key",
                target_id=key.id,
                summary=f"Re-wrapped data key {key.version}.",
                facts={"version": key.version, "from": former, "to": key.kek_id},
            )
        done += 1
        on_progress(RotationProgress(done, len(due)))
    return done


def rotate_data_keys(*, actor: Actor, on_progress: Progress = _ignore) -> int:
    """Make a new data key and re-encrypt every secret of the current tenant under it; then destroy the former ones.

    A killed rotation is finished by `resume_rotation` (or by the next rotation). Readers and writers go on meanwhile.

    Returns:
        How many secrets were re-encrypted.

    Raises:
        KeysDestroyed: the tenant's keys were crypto-shredded.
    """
    check_permission(actor, "tenant:manage")
    with transaction.atomic():
        lock_active_key()
    with transaction.atomic():
        # Waits for writers that hold the active key share-locked; those that come later find the new one.
        former = DataKey.objects.select_for_update().get(status=KeyStatus.ACTIVE)
        former.status = KeyStatus.RETIRED
        former.save(update_fields=["status", "updated_at"])
        add_data_key(former.version + 1)
        audit_sink.record(
            actor=actor,
            action="vault.key_rotated",
            target_type="data_key",
            target_id=former.id,
            summary=f"Data key {former.version} was replaced by {former.version + 1}.",
            facts={"retired": former.version, "active": former.version + 1},
        )
    return resume_rotation(on_progress=on_progress)


def resume_rotation(*, on_progress: Progress = _ignore) -> int:
    """Re-encrypt what still lies under retired keys, batch by batch, then destroy those keys. Repeatable.

    Returns:
        How many secrets were re-encrypted by this call.
    """
    total = _due_secrets().count()
    done = 0
    while batch := _reencrypt_batch():
        done += batch
        on_progress(RotationProgress(done, max(total, done)))
    _destroy_idle_keys()
    return done


def _due_secrets() -> QuerySet[Secret]:
    retired = DataKey.objects.filter(status=KeyStatus.RETIRED).values("version")
    due: QuerySet[Secret] = Secret.objects.filter(key_version__in=retired)
    return due


@sensitive_variables()
@transaction.atomic
def _reencrypt_batch() -> int:
    rows = list(_due_secrets().select_for_update(of=("self",)).order_by("id")[:BATCH_ROWS])
    if not rows:
        return 0
    active = lock_active_key()
    new_key = open_data_key(active)
    former = {
        key.version: open_data_key(key) for key in DataKey.objects.filter(version__in={row.key_version for row in rows})
    }
    for row in rows:
        place = place_of(row.owner_type, row.owner_id, row.field, row.key_version)
        value = crypto.decrypt(former[row.key_version], bytes(row.ciphertext), place)
        row.key_version = active.version
        row.ciphertext = crypto.encrypt(
            new_key, value, place_of(row.owner_type, row.owner_id, row.field, active.version)
        )
    Secret.objects.bulk_update(rows, ["key_version", "ciphertext"])
    return len(rows)


def _destroy_idle_keys() -> None:
    with transaction.atomic():
        for key in DataKey.objects.select_for_update().filter(status=KeyStatus.RETIRED).order_by("version"):
            if not Secret.objects.filter(key_version=key.version).exists():
                _destroy(key)


def _destroy(key: DataKey) -> None:
    key.status = KeyStatus.DESTROYED
    key.wrapped_key = b""
    key.destroyed_at = now()
    key.save(update_fields=["status", "wrapped_key", "destroyed_at", "updated_at"])
    log.info("data_key_destroyed", version=key.version)


@transaction.atomic
def destroy_tenant_keys(*, actor: Actor, reason: str) -> int:
    """Crypto-shred: destroy every data key of the current tenant, so that no secret of it can be read again.

    The ciphertexts stay as evidence that there were secrets. Old backups still hold the wrapped keys: destroy the
    key-encryption key too, once no other tenant's key is wrapped by it, or let the backups expire.

    Returns:
        How many keys were destroyed.
    """
    check_permission(actor, "tenant:manage")
    keys = list(DataKey.objects.select_for_update().exclude(status=KeyStatus.DESTROYED).order_by("version"))
    for key in keys:
        _destroy(key)
    audit_sink.record(
        actor=actor,
        action="vault.keys_destroyed",
        target_type="vault",
        target_id=require_tenant().id,
        summary=f"Destroyed {len(keys)} data keys: {reason}",
        facts={"versions": [key.version for key in keys], "reason": reason},
    )
    return len(keys)


@transaction.atomic
def renew_after_destruction(*, actor: Actor) -> int:
    """Let a shredded tenant store secrets again: drop the unreadable ciphertexts and make a new data key.

    Returns:
        Version of the active key; nothing changes if there already is one.
    """
    check_permission(actor, "tenant:manage")
    if not DataKey.objects.filter(status=KeyStatus.ACTIVE).exists():
        dropped, _ = Secret.objects.filter(
            key_version__in=DataKey.objects.filter(status=KeyStatus.DESTROYED).values("version")
        ).delete()
        newest = DataKey.objects.order_by("-version").first()
        add_data_key(newest.version + 1 if newest else 1)
        audit_sink.record(
            actor=actor,
            action="vault.keys_renewed",
            target_type="vault",
            target_id=require_tenant().id,
            summary=f"Made a new data key and dropped {dropped} unreadable secrets.",
            facts={"dropped": dropped},
        )
    return lock_active_key().version
