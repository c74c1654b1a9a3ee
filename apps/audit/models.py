"""Tables of the audit log, in the tenant's own schema. Triggers of the first migration make them append-only."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from apps.audit.exceptions import AuditImmutable
from apps.tenancy.models import TenantModel


class AuditEntry(TenantModel):
    """One thing that somebody did. `number`, `prev_hash` and `hash` are filled by the database when it commits."""

    created_at = None  # type: ignore[assignment]
    updated_at = None  # type: ignore[assignment]
    at = models.DateTimeField(help_text="When it happened, UTC.")
    actor_kind = models.CharField(max_length=20)
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=254)
    action = models.CharField(max_length=100, help_text="Dotted, past tense: `flow.published`.")
    target_type = models.CharField(max_length=60)
    target_id = models.CharField(max_length=100)
    summary = models.CharField(max_length=500)
    facts = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    content_hash = models.BinaryField(help_text="SHA-256 of the canonical JSON of the columns above.")
    number = models.BigIntegerField(null=True, unique=True, help_text="Place in the chain, from 1, without gaps.")
    prev_hash = models.BinaryField(null=True)
    hash = models.BinaryField(null=True, help_text="SHA-256 of prev_hash, number and content_hash.")

    class Meta:
        db_table = "audit_entry"
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["target_type", "target_id", "-id"], name="audit_entry_target"),
            models.Index(fields=["actor_id", "-id"], name="audit_entry_actor"),
            models.Index(fields=["action", "-id"], name="audit_entry_action"),
            models.Index(fields=["at"], name="audit_entry_at"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor_name}: {self.summary}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert once; a second save is refused."""
        if not self._state.adding:
            raise AuditImmutable
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Always refused."""
        raise AuditImmutable


class AuditHead(models.Model):
    """The one row per tenant that holds the end of the chain; written by the database only."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    number = models.BigIntegerField(default=0)
    hash = models.BinaryField()

    class Meta:
        db_table = "audit_head"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audit_head_single")]

    def __str__(self) -> str:
        return f"Head at {self.number}"
