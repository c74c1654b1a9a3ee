"""Shapes of the connectors' REST resources."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from apps.connectors.choices import CircuitState, ConnectionStatus
from apps.connectors.models import Breaker, Connection

MAX_CONFIG_KEYS = 100


class SecretFieldSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]


class AuthenticationSerializer(serializers.Serializer[Any]):
    methods = serializers.ListField(child=serializers.CharField())
    default_method = serializers.CharField(allow_null=True)


class ConnectorSerializer(serializers.Serializer[Any]):
    """An installed connector."""

    id = serializers.CharField()
    name = serializers.CharField()
    version = serializers.CharField()
    type = serializers.CharField()
    description = serializers.CharField()
    icon = serializers.CharField()
    supported_operations = serializers.ListField(child=serializers.CharField())
    authentication = AuthenticationSerializer()
    configuration = serializers.DictField(
        help_text="JSON Schema of the settings; order of properties = order of the form."
    )
    secrets = SecretFieldSerializer(many=True)
    capabilities = serializers.DictField()


class ConnectorListSerializer(serializers.Serializer[Any]):
    results = ConnectorSerializer(many=True)


class CheckStepSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    ok = serializers.BooleanField()
    message = serializers.CharField()
    duration_ms = serializers.IntegerField()


@extend_schema_serializer(component_name="ConnectionCheck")
class CheckResultSerializer(serializers.Serializer[Any]):
    """How a check went; a failing system is a result, not an error."""

    ok = serializers.BooleanField()
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    remedy = serializers.CharField(allow_blank=True)
    steps = CheckStepSerializer(many=True)


class CircuitFailureSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    remedy = serializers.CharField(allow_blank=True)


class CircuitSerializer(serializers.ModelSerializer[Breaker]):
    """Whether the system is called: closed (yes), open (no, until `next_probe_at`), half_open (one probe asks it)."""

    state = serializers.ChoiceField(choices=[state.value for state in CircuitState], read_only=True)
    last_failure = CircuitFailureSerializer(allow_null=True, read_only=True)

    class Meta:
        model = Breaker
        fields = (
            "state",
            "enabled",
            "threshold",
            "pause_s",
            "longest_pause_s",
            "failures",
            "opened_at",
            "next_probe_at",
            "last_failure",
            "last_failure_at",
        )
        read_only_fields = fields


class CircuitChangeSerializer(serializers.Serializer[Any]):
    """What changes; the rest stays."""

    enabled = serializers.BooleanField(required=False)
    threshold = serializers.IntegerField(required=False, help_text="Failures in a row that open it, 1 to 100.")
    pause_s = serializers.IntegerField(required=False, help_text="First pause, 1 to 3,600 s.")
    longest_pause_s = serializers.IntegerField(required=False, help_text="Longest pause, up to 86,400 s.")


class ConnectionSerializer(serializers.ModelSerializer[Connection]):
    """A configured connection. Credentials are never shown; `secrets_set` names those that are stored."""

    secrets_set = serializers.SerializerMethodField()
    last_check = CheckResultSerializer(allow_null=True)
    circuit = serializers.SerializerMethodField()

    class Meta:
        model = Connection
        fields = (
            "id",
            "name",
            "slug",
            "connector",
            "config",
            "secrets_set",
            "status",
            "last_check",
            "last_checked_at",
            "circuit",
            "builtin",
            "archived_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    def get_secrets_set(self, row: Connection) -> list[str]:
        """Names of the stored credentials."""
        names: list[str] = self.context["secret_names"].get(row.id, [])
        return names

    @extend_schema_field(CircuitSerializer)
    def get_circuit(self, row: Connection) -> dict[str, Any]:
        """The circuit breaker; as configured at first while nothing has failed yet."""
        return dict(CircuitSerializer(getattr(row, "breaker", None) or Breaker()).data)


class _SecretsField(serializers.DictField):
    child = serializers.CharField(allow_null=True, max_length=65_536, trim_whitespace=False, allow_blank=True)


class ConnectionCreateSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=120)
    slug = serializers.CharField(max_length=63, required=False, allow_blank=True)
    connector = serializers.CharField(max_length=63)
    config = serializers.DictField(default=dict)
    secrets = _SecretsField(default=dict, write_only=True)


class ConnectionUpdateSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=120, required=False)
    config = serializers.DictField(required=False)
    secrets = _SecretsField(required=False, write_only=True)


class DraftCheckSerializer(serializers.Serializer[Any]):
    connector = serializers.CharField(max_length=63)
    config = serializers.DictField(default=dict)
    secrets = _SecretsField(default=dict, write_only=True)
    connection = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="Saved connection whose stored credentials stand in for those left out.",
    )


class ConnectionFilter(serializers.Serializer[Any]):
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=120)
    status = serializers.ChoiceField(
        choices=[status.value for status in ConnectionStatus], required=False, default="", allow_blank=True
    )
    connector = serializers.CharField(required=False, default="", allow_blank=True, max_length=63)
    archived = serializers.BooleanField(required=False, default=False)


class PageQuery(serializers.Serializer[Any]):
    cursor = serializers.CharField(required=False, default=None, allow_null=True, max_length=2000)
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=200)


class EntityFilter(PageQuery):
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)


class EntityRefSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    kind = serializers.CharField()
    row_estimate = serializers.IntegerField(allow_null=True)


class EntityPageSerializer(serializers.Serializer[Any]):
    results = EntityRefSerializer(many=True, source="entities")
    next = serializers.CharField(allow_null=True)


class EntityQuery(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=500)


class EntityFieldSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    type = serializers.CharField()
    native_type = serializers.CharField()
    nullable = serializers.BooleanField()
    primary_key = serializers.BooleanField()
    position = serializers.IntegerField()
    description = serializers.CharField(allow_blank=True)


class EntitySchemaSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    kind = serializers.CharField()
    row_estimate = serializers.IntegerField(allow_null=True)
    fields = EntityFieldSerializer(many=True)  # type: ignore[assignment]
    keys = serializers.ListField(child=serializers.CharField())
    unique_keys = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
    cursor_candidates = serializers.ListField(child=serializers.CharField())


class SampleQuery(serializers.Serializer[Any]):
    entity = serializers.CharField(max_length=500)
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=200)


class SampleFieldSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    type = serializers.CharField()


class SampleSerializer(serializers.Serializer[Any]):
    fields = SampleFieldSerializer(many=True)  # type: ignore[assignment]
    rows = serializers.ListField(child=serializers.DictField())


class UploadSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    size_bytes = serializers.IntegerField()
    entity = serializers.CharField()
    uploaded_at = serializers.DateTimeField()


class UploadListSerializer(serializers.Serializer[Any]):
    results = UploadSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class UploadInputSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(allow_empty_file=True, max_length=500)
