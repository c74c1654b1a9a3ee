"""Shapes of quality in REST v2. Input and output are apart."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.quality.choices import QuarantineStatus, ReconciliationStatus
from apps.quality.models import QuarantinedRow, Reconciliation
from apps.quality.services.quarantine import DISCARD_MOST


class BrokenRuleSerializer(serializers.Serializer):
    """One rule that a row breaks."""

    rule = serializers.CharField()
    field = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    message = serializers.CharField()


class PersonSerializer(serializers.Serializer):
    """Who decided."""

    id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()


class QuarantinedRowSerializer(serializers.ModelSerializer):
    """A rejected row. `payload` has the source's columns, exact values as text."""

    payload = serializers.SerializerMethodField()
    payload_complete = serializers.SerializerMethodField(help_text="False in lists, where a row is too large to show.")
    errors = BrokenRuleSerializer(many=True)  # type: ignore[assignment]
    decided_by = serializers.SerializerMethodField()

    class Meta:
        model = QuarantinedRow
        fields = [
            "id", "run_id", "flow_id", "flow_version_id", "environment_id", "row_id", "source_position", "payload",
            "payload_complete", "errors", "status", "corrected", "replay_run_id", "decided_by", "decided_at", "note",
            "created_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_payload(self, row: QuarantinedRow) -> dict[str, Any]:
        """Source row; empty where it is too large for a list."""
        shown = getattr(row, "shown_payload", None) if hasattr(row, "shown_payload") else row.payload
        return shown or {}

    def get_payload_complete(self, row: QuarantinedRow) -> bool:
        """Whether `payload` is the whole row."""
        return not hasattr(row, "shown_payload") or row.shown_payload is not None

    @extend_schema_field(PersonSerializer(allow_null=True))
    def get_decided_by(self, row: QuarantinedRow) -> dict[str, Any] | None:
        """Who decided last."""
        if row.decided_at is None:
            return None
        return {"id": row.decided_by and str(row.decided_by), "name": row.decided_by_name}


class QuarantineFilter(serializers.Serializer):
    """Limits of a quarantine list."""

    run = serializers.UUIDField(required=False, help_text="Run that rejected the rows.")
    flow = serializers.UUIDField(required=False)
    environment = serializers.UUIDField(required=False, help_text="Id of the environment.")
    status = serializers.ChoiceField(choices=QuarantineStatus.choices, required=False)
    waiting = serializers.BooleanField(required=False, help_text="Only open and corrected rows.")
    rule = serializers.CharField(required=False, max_length=100)
    replay_run = serializers.UUIDField(required=False, help_text="Run that tried the rows again.")
    search = serializers.CharField(required=False, max_length=200, help_text="Words in the row's values.")


class CorrectionInput(serializers.Serializer):
    """Changed source values of a row; an empty object takes the correction back."""

    corrected = serializers.DictField(child=serializers.JSONField(allow_null=True), allow_empty=True)
    note = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")


class DiscardInput(serializers.Serializer):
    """Rows to give up, and why."""

    ids = serializers.ListField(child=serializers.UUIDField(), allow_empty=False, min_length=1, max_length=DISCARD_MOST)
    reason = serializers.CharField(max_length=2000)


class DiscardResult(serializers.Serializer):
    """How many rows were discarded."""

    discarded = serializers.IntegerField()


class RuleCountSerializer(serializers.Serializer):
    """Rows that break a rule."""

    rule = serializers.CharField()
    count = serializers.IntegerField()


class QuarantineSummarySerializer(serializers.Serializer):
    """Counts of rejected rows. A row that breaks two rules counts under both, once in `total`."""

    by_rule = RuleCountSerializer(many=True)
    by_status = serializers.DictField(child=serializers.IntegerField())
    total = serializers.IntegerField()


class SideSerializer(serializers.Serializer):
    """One side of a load."""

    count = serializers.IntegerField()
    totals = serializers.DictField(child=serializers.CharField(allow_null=True))


class ControlSerializer(serializers.Serializer):
    """One control total; amounts are decimal text."""

    name = serializers.CharField()
    aggregate = serializers.CharField()
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    target = serializers.CharField(allow_null=True)
    quarantined = serializers.CharField(allow_null=True)
    difference = serializers.CharField()
    tolerance = serializers.CharField()
    ok = serializers.BooleanField()


class BreakSerializer(serializers.Serializer):
    """One key on which the sides disagree."""

    key = serializers.DictField(child=serializers.CharField())
    kind = serializers.CharField()
    control = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    target = serializers.CharField(allow_null=True)


class ReconciliationSerializer(serializers.ModelSerializer):
    """Whether a load is complete and correct."""

    source = SideSerializer()  # type: ignore[assignment]
    target = SideSerializer()
    controls = ControlSerializer(many=True)
    breaks = BreakSerializer(many=True)
    reasons = serializers.ListField(child=serializers.CharField())
    signed_by = serializers.SerializerMethodField()

    class Meta:
        model = Reconciliation
        fields = [
            "id", "run_id", "flow_id", "environment_id", "status", "verdict", "source", "target", "quarantined",
            "count_tolerance", "controls", "breaks", "breaks_total", "reasons", "requested_by", "signed_by",
            "signed_at", "comment", "created_at",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(PersonSerializer(allow_null=True))
    def get_signed_by(self, row: Reconciliation) -> dict[str, Any] | None:
        """Who signed."""
        if row.signed_at is None:
            return None
        return {"id": row.signed_by and str(row.signed_by), "name": row.signed_by_name}


class ReconciliationFilter(serializers.Serializer):
    """Limits of a list of reconciliations."""

    run = serializers.UUIDField(required=False)
    flow = serializers.UUIDField(required=False)
    status = serializers.ChoiceField(choices=ReconciliationStatus.choices, required=False)


class SignInput(serializers.Serializer):
    """A signature's comment; required unless the reconciliation is green."""

    comment = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")
