"""Shapes of the consumers' API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.messaging.choices import ConsumerStatus, LetterStatus, MessageFormat
from apps.messaging.models import Consumer, DeadLetter
from apps.messaging.services.editing import MAX_EXPRESSION_CHARS, MAX_PER_SECOND


class ConsumerErrorSerializer(serializers.Serializer[Any]):
    """Why the last attempt failed."""

    code = serializers.CharField()
    message = serializers.CharField()
    remedy = serializers.CharField(allow_blank=True)


class ConsumerSerializer(serializers.ModelSerializer[Consumer]):
    """A consumer with its health."""

    environment = serializers.CharField(source="environment.slug", read_only=True)
    status = serializers.ChoiceField(choices=ConsumerStatus.choices, read_only=True)
    format = serializers.ChoiceField(choices=MessageFormat.choices, read_only=True)
    last_error = serializers.SerializerMethodField()
    dead = serializers.IntegerField(read_only=True, help_text="Dead letters that wait for a person.")

    class Meta:
        model = Consumer
        fields = [
            "id", "name", "environment", "connection", "source", "from_start", "format", "event_type", "filter",
            "key_expression", "max_per_second", "status", "status_reason", "created_by_name", "connected_at",
            "last_message_at", "position", "lag", "received", "published", "duplicates", "filtered", "dead",
            "failures", "last_error", "last_failed_at", "next_attempt_at", "created_at", "updated_at",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(ConsumerErrorSerializer(allow_null=True))
    def get_last_error(self, row: Consumer) -> dict[str, Any] | None:
        """Why the last attempt failed; null after one that did not."""
        return row.last_error


class ConsumerChange(serializers.Serializer[Any]):
    """Changes of a consumer; what is left out stays."""

    name = serializers.CharField(max_length=100, required=False)
    format = serializers.ChoiceField(choices=MessageFormat.choices, required=False)
    event_type = serializers.CharField(
        max_length=150, required=False, help_text="message.received.v1, or a type that is defined here."
    )
    filter = serializers.CharField(
        max_length=MAX_EXPRESSION_CHARS,
        required=False,
        allow_blank=True,
        help_text="Expression over source, message_id, key, headers and body; empty takes everything.",
    )
    key_expression = serializers.CharField(
        max_length=MAX_EXPRESSION_CHARS,
        required=False,
        allow_blank=True,
        help_text="Events of one key keep their order; empty uses the message's own key.",
    )
    max_per_second = serializers.IntegerField(min_value=1, max_value=MAX_PER_SECOND, required=False)


class ConsumerInput(ConsumerChange):
    """A new consumer."""

    name = serializers.CharField(max_length=100)
    environment = serializers.CharField(max_length=20)
    connection = serializers.CharField(max_length=63, help_text="Slot or short name of a connection to a broker.")
    source = serializers.CharField(  # type: ignore[assignment] # a field's own name for its attribute
        max_length=300, help_text="Queue, stream[/subject], topic, or topic filter."
    )
    from_start = serializers.BooleanField(required=False, default=False)


class ConsumerFilter(serializers.Serializer[Any]):
    """Limits of the list."""

    status = serializers.ChoiceField(choices=[ConsumerStatus.ACTIVE, ConsumerStatus.PAUSED], required=False)
    search = serializers.CharField(required=False, max_length=100)


class ConsumerPauseInput(serializers.Serializer[Any]):
    """Why it is paused, for people."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")


class DeadLetterSerializer(serializers.ModelSerializer[DeadLetter]):
    """A message that could not become an event; without its body."""

    status = serializers.ChoiceField(choices=LetterStatus.choices, read_only=True)

    class Meta:
        model = DeadLetter
        fields = [
            "id", "consumer", "status", "code", "reason", "source", "message_id", "position", "key", "content_type",
            "sent_at", "size_bytes", "event_id", "settled_at", "settled_by", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class DeadLetterDetailSerializer(DeadLetterSerializer):
    """A dead letter with its headers and body."""

    headers = serializers.DictField(child=serializers.CharField(), read_only=True)
    body = serializers.SerializerMethodField(help_text="Bytes that are not UTF-8 are replaced.")
    is_complete = serializers.BooleanField(read_only=True, help_text="False: only the beginning is kept.")

    class Meta(DeadLetterSerializer.Meta):
        fields = [*DeadLetterSerializer.Meta.fields, "headers", "body", "is_complete"]
        read_only_fields = fields

    def get_body(self, row: DeadLetter) -> str:
        """The body as text."""
        return bytes(row.body).decode("utf-8", "replace")


class DeadLetterFilter(serializers.Serializer[Any]):
    """Limits of the list."""

    status = serializers.ChoiceField(choices=LetterStatus.choices, required=False)


class RedeliverAllSerializer(serializers.Serializer[Any]):
    """What came of the letters that were tried again."""

    redelivered = serializers.IntegerField()
    dead = serializers.IntegerField()
