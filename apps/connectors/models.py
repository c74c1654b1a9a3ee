"""Tables of the connectors app."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.connectors.choices import AlarmLevel, CapturePhase, CaptureStatus, CircuitState, ConnectionStatus
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


class ChangeCapture(TenantModel):
    """Tables of a connection whose changes become events. `position` moves in the transaction of the events."""

    name = models.CharField(max_length=120, unique=True)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="captures")
    tables = models.JSONField(default=list, help_text="Structure as last seen: name, keys, columns.")
    slot = models.CharField(max_length=63)
    publication = models.CharField(max_length=63)
    own_publication = models.BooleanField(default=True)
    with_snapshot = models.BooleanField(default=True)
    status = models.CharField(
        max_length=16, choices=[(one.value, one.value) for one in CaptureStatus], default=CaptureStatus.RUNNING
    )
    phase = models.CharField(
        max_length=16, choices=[(one.value, one.value) for one in CapturePhase], default=CapturePhase.NEW
    )
    position = models.BigIntegerField(default=0, help_text="Transactions that end up to here are in the event log.")
    system_id = models.CharField(max_length=80, blank=True)
    progress = models.JSONField(default=dict, help_text="Of the first snapshot: tables done, last key, segments.")
    rows_read = models.BigIntegerField(default=0)
    changes = models.BigIntegerField(default=0)
    last_commit_at = models.DateTimeField(null=True, blank=True)
    last_event_at = models.DateTimeField(null=True, blank=True)
    fence = models.BigIntegerField(default=0)
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True, blank=True)
    problem = models.JSONField(null=True, blank=True)
    health = models.JSONField(default=dict)
    alarm = models.CharField(
        max_length=16, choices=[(one.value, one.value) for one in AlarmLevel], default=AlarmLevel.OK
    )
    measure_at = models.DateTimeField(null=True, blank=True)
    warn_wal_bytes = models.BigIntegerField()
    max_wal_bytes = models.BigIntegerField()
    drop_at_limit = models.BooleanField(default=True)
    warn_lag_s = models.PositiveIntegerField()
    created_by = models.UUIDField(null=True, blank=True)

    class Meta:
        db_table = "connectors_changecapture"

    def __str__(self) -> str:
        return self.name


class Breaker(TenantModel):
    """The circuit breaker of a connection; there is none before the first failure or setting. Times: the database's."""

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, related_name="breaker")
    enabled = models.BooleanField(default=True)
    threshold = models.PositiveIntegerField(default=5, help_text="Failures in a row that open the circuit.")
    pause_s = models.PositiveIntegerField(default=30, help_text="First pause; each failed probe doubles it.")
    longest_pause_s = models.PositiveIntegerField(default=900)
    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.value) for state in CircuitState],
        default=CircuitState.CLOSED,
    )
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    openings = models.PositiveIntegerField(default=0, help_text="Pauses in a row, without an answer between them.")
    opened_at = models.DateTimeField(null=True, blank=True)
    next_probe_at = models.DateTimeField(null=True, blank=True)
    probe_epoch = models.BigIntegerField(default=0, help_text="Fencing number: rises with every probe.")
    probe_expires_at = models.DateTimeField(null=True, blank=True)
    last_failure = models.JSONField(null=True, blank=True, help_text="{code, message, remedy}")
    last_failure_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "connectors_breaker"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in CircuitState]), name="breaker_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} {self.state}"
