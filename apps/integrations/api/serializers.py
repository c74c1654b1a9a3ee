"""Shapes of integrations in REST v2. Input and output are apart."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from apps.integrations.choices import FlowKind
from apps.integrations.models import Deployment, FlowVersion
from apps.integrations.services.preview import MOST_ROWS


class ActorSerializer(serializers.Serializer):
    """Who did it."""

    id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()


@extend_schema_serializer(component_name="DefinitionProblem")
class ProblemSerializer(serializers.Serializer):
    """One finding about one place of a definition."""

    path = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    severity = serializers.ChoiceField(choices=["error", "warning"])
    start = serializers.IntegerField(required=False)
    end = serializers.IntegerField(required=False)
    hint = serializers.CharField(required=False)


class EndSerializer(serializers.Serializer):
    """One end of a flow: connection slot and entity."""

    connection = serializers.CharField(allow_blank=True)
    entity = serializers.CharField(allow_blank=True)


class LatestVersionSerializer(serializers.Serializer):
    """The newest published version."""

    number = serializers.IntegerField()
    content_hash = serializers.CharField()
    published_at = serializers.DateTimeField()


class ActiveDeploymentSerializer(serializers.Serializer):
    """Which version is active where."""

    environment = serializers.CharField()
    version = serializers.IntegerField()
    deployed_at = serializers.DateTimeField()


class LastRunSerializer(serializers.Serializer):
    """The newest run, if any."""

    id = serializers.UUIDField()
    status = serializers.CharField()
    environment = serializers.CharField(required=False)
    created_at = serializers.DateTimeField(required=False)
    ended_at = serializers.DateTimeField(allow_null=True)


class FlowSummarySerializer(serializers.Serializer):
    """A flow in a list."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    slug = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    kind = serializers.ChoiceField(choices=FlowKind.choices)
    source = EndSerializer(allow_null=True)  # type: ignore[assignment]
    target = EndSerializer(allow_null=True)
    draft_revision = serializers.IntegerField()
    draft_problems_count = serializers.IntegerField()
    draft_saved_by = serializers.CharField(allow_blank=True)
    draft_saved_at = serializers.DateTimeField(allow_null=True)
    latest_version = LatestVersionSerializer(allow_null=True)
    deployments = ActiveDeploymentSerializer(many=True)
    last_run = LastRunSerializer(allow_null=True)
    archived_at = serializers.DateTimeField(allow_null=True)
    paused_at = serializers.DateTimeField(allow_null=True, required=False)
    pause_reason = serializers.CharField(allow_blank=True, required=False)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class FlowSerializer(FlowSummarySerializer):
    """A flow with its draft (`GET /api/v2/schemas/flow-1.json` describes a complete one)."""

    draft = serializers.JSONField()


class FlowFilter(serializers.Serializer):
    """Limits of the flows list."""

    search = serializers.CharField(required=False, max_length=200, help_text="Part of the name.")
    archived = serializers.BooleanField(required=False, help_text="Archived flows instead of live ones.")


@extend_schema_field({"type": "object", "additionalProperties": True})
class DefinitionField(serializers.JSONField):
    """A flow definition as a JSON object; its content is checked by the service."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Refuse what is not an object."""
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            raise serializers.ValidationError("A definition is a JSON object.")
        return value


class FlowInput(serializers.Serializer):
    """A new flow."""

    name = serializers.CharField(max_length=200)
    description = serializers.CharField(required=False, allow_blank=True, max_length=5000, default="")
    kind = serializers.ChoiceField(choices=FlowKind.choices, required=False, default=FlowKind.LOAD)
    draft = DefinitionField(required=False)


class FlowPauseInput(serializers.Serializer):
    """Why a flow is paused, for people."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")


class FlowChange(serializers.Serializer):
    """Changes of a flow; what is left out stays. A draft needs the revision it was read at."""

    name = serializers.CharField(max_length=200, required=False)
    description = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    draft = DefinitionField(required=False)
    expected_revision = serializers.IntegerField(required=False, min_value=1)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A draft without its revision could overwrite somebody else's."""
        if "draft" in attrs and "expected_revision" not in attrs:
            raise serializers.ValidationError({"expected_revision": "Send the draft_revision you started from."})
        return attrs


class DefinitionInput(serializers.Serializer):
    """A definition to check; the draft when absent."""

    definition = DefinitionField(required=False)


class PreviewInput(DefinitionInput):
    """A definition to try on sample rows."""

    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=MOST_ROWS)


class TypedFieldSerializer(serializers.Serializer):
    """A column and its DuckDB type."""

    name = serializers.CharField()
    type = serializers.CharField()


class SourceFieldSerializer(TypedFieldSerializer):
    """A source column."""

    nullable = serializers.BooleanField()


class CheckedFieldSerializer(serializers.Serializer):
    """A mapped field without errors; `columns` are the source columns it reads."""

    target = serializers.CharField()
    type = serializers.CharField()
    columns = serializers.ListField(child=serializers.CharField())
    expression_type = serializers.CharField(allow_null=True)
    nullable = serializers.BooleanField()


class CheckSerializer(serializers.Serializer):
    """Findings about a definition."""

    valid = serializers.BooleanField()
    problems = ProblemSerializer(many=True)
    fields = CheckedFieldSerializer(many=True)  # type: ignore[assignment]
    source_known = serializers.ChoiceField(choices=["live", "cached", "contract", "unknown"])
    source_fields = SourceFieldSerializer(many=True)


class RowErrorSerializer(serializers.Serializer):
    """One broken rule."""

    rule = serializers.CharField()
    field = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    message = serializers.CharField()


class PreviewRowSerializer(serializers.Serializer):
    """One sample row, before and after; exact values as text."""

    source = serializers.DictField()  # type: ignore[assignment]
    target = serializers.DictField()
    accepted = serializers.BooleanField()
    filtered = serializers.BooleanField()
    errors = RowErrorSerializer(many=True)  # type: ignore[assignment]
    warnings = serializers.ListField(child=serializers.CharField())


class PreviewSerializer(serializers.Serializer):
    """A mapping on sample rows."""

    source_fields = TypedFieldSerializer(many=True)
    target_fields = TypedFieldSerializer(many=True)
    rows = PreviewRowSerializer(many=True)
    problems = ProblemSerializer(many=True)


class SuggestInput(serializers.Serializer):
    """Ends of a mapping to guess. Connections by slot (short name) or id."""

    connection = serializers.CharField(max_length=63)
    entity = serializers.CharField(max_length=500)
    target_connection = serializers.CharField(max_length=63, required=False, allow_null=True)
    target_entity = serializers.CharField(max_length=500, required=False, allow_null=True, allow_blank=True)


class SuggestedFieldSerializer(serializers.Serializer):
    """One guess; `expression` is empty where nothing fits."""

    target = serializers.CharField()
    type = serializers.CharField()
    expression = serializers.CharField(allow_blank=True)
    nullable = serializers.BooleanField()
    confidence = serializers.FloatField()
    reason = serializers.CharField()


class SuggestionSerializer(serializers.Serializer):
    """A first mapping."""

    fields = SuggestedFieldSerializer(many=True)  # type: ignore[assignment]
    keys = serializers.ListField(child=serializers.CharField())
    cursor = serializers.CharField(allow_null=True)


class PublishInput(serializers.Serializer):
    """Publishing the draft."""

    note = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")


class VersionSummarySerializer(serializers.ModelSerializer):
    """A published version in a list."""

    published_by = serializers.SerializerMethodField()

    class Meta:
        model = FlowVersion
        fields = ["id", "number", "content_hash", "note", "published_by", "published_at"]
        read_only_fields = fields

    @extend_schema_field(ActorSerializer)
    def get_published_by(self, row: FlowVersion) -> dict[str, Any]:
        """Who published it."""
        return {"id": row.published_by and str(row.published_by), "name": row.published_by_name}


class VersionSerializer(VersionSummarySerializer):
    """A published version with its definition."""

    class Meta(VersionSummarySerializer.Meta):
        fields = [*VersionSummarySerializer.Meta.fields, "definition"]
        read_only_fields = fields


class PublishResultSerializer(VersionSerializer):
    """The version, and whether it is new."""

    created = serializers.BooleanField()
    message = serializers.CharField()

    class Meta(VersionSerializer.Meta):
        fields = [*VersionSerializer.Meta.fields, "created", "message"]
        read_only_fields = fields


class DeployInput(serializers.Serializer):
    """Which version becomes active where."""

    environment = serializers.CharField(max_length=20)
    version = serializers.IntegerField(min_value=1)
    note = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")


class DeploymentSerializer(serializers.ModelSerializer):
    """A deployment, active or retired."""

    environment = serializers.CharField(source="environment.slug")
    version = serializers.IntegerField(source="version.number")
    deployed_by = serializers.SerializerMethodField()

    class Meta:
        model = Deployment
        fields = ["id", "environment", "version", "status", "note", "deployed_by", "deployed_at", "retired_at"]
        read_only_fields = fields

    @extend_schema_field(ActorSerializer)
    def get_deployed_by(self, row: Deployment) -> dict[str, Any]:
        """Who deployed it."""
        return {"id": row.deployed_by and str(row.deployed_by), "name": row.deployed_by_name}


class DeployResultSerializer(DeploymentSerializer):
    """The active deployment, and what changed."""

    changed = serializers.BooleanField()
    message = serializers.CharField()
    warnings = ProblemSerializer(many=True)

    class Meta(DeploymentSerializer.Meta):
        fields = [*DeploymentSerializer.Meta.fields, "changed", "message", "warnings"]
        read_only_fields = fields


class DriftDecisionSerializer(serializers.Serializer):
    """One difference between the data contract and the source."""

    change = serializers.CharField()
    column = serializers.CharField()
    mode = serializers.CharField()
    action = serializers.CharField()
    used = serializers.BooleanField()
    expected_type = serializers.CharField(allow_null=True)
    actual_type = serializers.CharField(allow_null=True)
    message = serializers.CharField()


class DriftSerializer(serializers.Serializer):
    """All differences; `fields` is the contract after evolution."""

    version = serializers.IntegerField(allow_null=True)
    decisions = DriftDecisionSerializer(many=True)
    fields = TypedFieldSerializer(many=True)  # type: ignore[assignment]
    blocking = serializers.BooleanField()


class DriftFilter(serializers.Serializer):
    """Whose source is compared."""

    environment = serializers.CharField(required=False, max_length=20, default="dev")


class ColumnLineageSerializer(serializers.Serializer):
    """Where one target column comes from."""

    target_column = serializers.CharField()
    source_columns = serializers.ListField(child=serializers.CharField())
    expression = serializers.CharField()
    identity = serializers.BooleanField()


class LineageSerializer(serializers.Serializer):
    """Column lineage of a published version."""

    results = ColumnLineageSerializer(many=True)
