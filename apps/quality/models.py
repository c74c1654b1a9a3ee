"""Tables of the quality app: rejected rows, reconciliations, column lineage.

Runs, flows and environments live in higher layers, so they are referred to by id; nothing here reads their tables.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models import Q

from apps.quality.choices import QuarantineStatus, ReconciliationStatus
from apps.tenancy.models import TenantModel

WAITING = (QuarantineStatus.OPEN, QuarantineStatus.CORRECTED)


class QuarantinedRow(TenantModel):
    """One row that a run rejected: what it was, every rule it breaks, and what people decided about it."""

    run_id = models.UUIDField(help_text="Run that rejected the row.")
    flow_id = models.UUIDField()
    flow_version_id = models.UUIDField(null=True, blank=True, help_text="Empty for a run of a draft.")
    environment_id = models.UUIDField()
    part = models.CharField(max_length=200, blank=True, default="", help_text="Part of the run, for repeating it.")
    row_id = models.CharField(max_length=100, help_text="The engine's identity of the row within the run.")
    source_position = models.CharField(max_length=500, blank=True, default="")
    payload = models.JSONField(help_text="Source row; decimals and other exact values as text.")
    errors = models.JSONField(help_text="List of {rule, field, code, message}.")
    search_text = models.TextField(blank=True, default="", help_text="Start of the row's values, for search.")
    rules = ArrayField(models.CharField(max_length=100), help_text="Distinct rules of `errors`, for search.")
    status = models.CharField(max_length=10, choices=QuarantineStatus.choices, default=QuarantineStatus.OPEN)
    corrected = models.JSONField(null=True, blank=True, help_text="Changed source columns only.")
    replay_run_id = models.UUIDField(null=True, blank=True, help_text="Run that tried the row again.")
    decided_by = models.UUIDField(null=True, blank=True)
    decided_by_name = models.CharField(max_length=200, blank=True, default="")
    decided_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True, default="")

    class Meta:
        db_table = "quality_quarantined_row"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["run_id", "row_id"], name="quality_quarantine_row_once"),
            models.CheckConstraint(
                condition=Q(status__in=[choice.value for choice in QuarantineStatus]),
                name="quality_quarantine_status_known",
            ),
        ]
        indexes = [
            models.Index(fields=["run_id", "-id"], name="quality_q_run"),
            models.Index(fields=["flow_id", "status", "-id"], name="quality_q_flow_status"),
            models.Index(fields=["-id"], name="quality_q_waiting", condition=Q(status__in=WAITING)),
            models.Index(
                fields=["decided_at"],
                name="quality_q_decided",
                condition=Q(status__in=[QuarantineStatus.REPLAYED, QuarantineStatus.DISCARDED]),
            ),
            models.Index(fields=["replay_run_id"], name="quality_q_replay", condition=Q(replay_run_id__isnull=False)),
            GinIndex(fields=["rules"], name="quality_q_rules"),
            GinIndex(SearchVector("search_text", config="simple"), name="quality_q_search"),
        ]

    def __str__(self) -> str:
        return f"{self.row_id} ({self.status})"


class Reconciliation(TenantModel):
    """Whether one load is complete and correct: both sides counted and summed, compared, and signed by a person."""

    run_id = models.UUIDField(unique=True)
    flow_id = models.UUIDField()
    environment_id = models.UUIDField()
    status = models.CharField(max_length=10, choices=ReconciliationStatus.choices)
    verdict = models.CharField(
        max_length=10,
        choices=[choice for choice in ReconciliationStatus.choices if choice[0] != "signed"],
        help_text="Computed status; stays when a person signs.",
    )
    source = models.JSONField(help_text="{count, totals}")
    target = models.JSONField(help_text="{count, totals}")
    quarantined = models.BigIntegerField(default=0)
    count_tolerance = models.BigIntegerField(default=0)
    controls = models.JSONField(default=list, help_text="List of {name, source, target, difference, tolerance, ok}.")
    breaks = models.JSONField(default=list, help_text="The first keys on which the sides disagree.")
    breaks_total = models.BigIntegerField(default=0)
    reasons = models.JSONField(default=list, help_text="Sentences that explain the verdict.")
    requested_by = models.UUIDField(null=True, blank=True, help_text="Who started the run; may not sign.")
    signed_by = models.UUIDField(null=True, blank=True)
    signed_by_name = models.CharField(max_length=200, blank=True, default="")
    signed_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True, default="")

    class Meta:
        db_table = "quality_reconciliation"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="signed", signed_at__isnull=False) | Q(~Q(status="signed"), signed_at__isnull=True),
                name="quality_reconciliation_signed_whole",
            ),
        ]
        indexes = [
            models.Index(fields=["flow_id", "-id"], name="quality_r_flow"),
            models.Index(fields=["status", "-id"], name="quality_r_status"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} ({self.status})"


class LineageEdge(TenantModel):
    """One target column of one published version comes from one source column (or from a constant: empty column)."""

    flow_id = models.UUIDField()
    flow_version_id = models.UUIDField()
    source_slot = models.CharField(max_length=63)
    source_entity = models.CharField(max_length=500)
    source_column = models.CharField(max_length=255, blank=True)
    target_slot = models.CharField(max_length=63)
    target_entity = models.CharField(max_length=500)
    target_column = models.CharField(max_length=63)
    expression = models.TextField()
    identity = models.BooleanField(default=False)

    class Meta:
        db_table = "quality_lineage_edge"
        ordering = ["target_column", "source_column"]
        constraints = [
            models.UniqueConstraint(
                fields=["flow_version_id", "target_column", "source_column"], name="quality_lineage_once"
            )
        ]
        indexes = [
            models.Index(fields=["source_slot", "source_entity", "source_column"], name="quality_l_source"),
            models.Index(fields=["target_slot", "target_entity", "target_column"], name="quality_l_target"),
        ]

    def __str__(self) -> str:
        return f"{self.source_column} -> {self.target_column}"
