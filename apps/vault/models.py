"""Tables of the vault: data keys and secrets, both in the tenant's own schema."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.tenancy.models import TenantModel
from apps.vault.choices import KeyStatus


class DataKey(TenantModel):
    """A key that encrypts this tenant's secrets, itself encrypted by a key-encryption key."""

    version = models.PositiveIntegerField(unique=True)
    status = models.CharField(max_length=12, choices=KeyStatus.choices, default=KeyStatus.ACTIVE)
    kek_id = models.CharField(max_length=60, help_text="Which key of VAULT_KEYS wraps it.")
    wrapped_key = models.BinaryField(help_text="Empty once the key is destroyed.")
    destroyed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "vault_datakey"
        ordering = ["version"]
        constraints = [
            models.UniqueConstraint(
                fields=["status"], condition=Q(status=KeyStatus.ACTIVE), name="vault_datakey_one_active"
            ),
        ]

    def __str__(self) -> str:
        return f"Data key {self.version} ({self.status})"


class Secret(TenantModel):
    """One secret value of one owner, encrypted; its place is part of the encryption."""

    owner_type = models.CharField(max_length=60)
    owner_id = models.UUIDField()
    field = models.CharField(max_length=100)
    key_version = models.PositiveIntegerField(db_index=True)
    ciphertext = models.BinaryField()

    class Meta:
        db_table = "vault_secret"
        ordering = ["owner_type", "owner_id", "field"]
        constraints = [
            models.UniqueConstraint(fields=["owner_type", "owner_id", "field"], name="vault_secret_one_per_field"),
        ]

    def __str__(self) -> str:
        return f"{self.owner_type} {self.owner_id} · {self.field}"
