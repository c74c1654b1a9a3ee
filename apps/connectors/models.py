"""Tables of the connectors app."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.connectors.choices import ConnectionStatus
from apps.tenancy.models import TenantModel


class Connection(TenantModel):
    """A configured system. Credentials are not here but in the vault, under (`connection`, id)."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=63, help_text="Name that flows use for it.")
    connector = models.CharField(max_length=63)
    config = models.JSONField(default=dict)
    status = models.CharField(
        max_length=16,
        choices=[(status.value, status.value) for status in ConnectionStatus],
        default=ConnectionStatus.NEW,
    )
    last_check = models.JSONField(null=True, blank=True)
    last_checked_at = models.DateTimeField(null=True, blank=True)
    builtin = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    created_by = models.UUIDField(null=True, blank=True)

    class Meta:
        db_table = "connectors_connection"
        constraints = [
            models.UniqueConstraint(fields=["slug"], condition=Q(archived_at=None), name="connection_slug_in_use"),
            models.UniqueConstraint(fields=["name"], condition=Q(archived_at=None), name="connection_name_in_use"),
        ]

    def __str__(self) -> str:
        return self.name
