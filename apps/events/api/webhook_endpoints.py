"""`/api/v2/webhook-endpoints` and `/webhook-messages`: addresses for other systems, and what arrived there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.events.api.inputs import read_input
from apps.events.api.subscriptions import RotateInput, SigningKeyOutput
from apps.events.choices import EndpointStatus, SignatureScheme
from apps.events.events import WEBHOOK_RECEIVED
from apps.events.models import InboundEndpoint, InboundMessage
from apps.events.selectors import (
    get_inbound_endpoint,
    get_inbound_message,
    list_inbound_endpoints,
    list_inbound_messages,
)
from apps.events.services import inbound_endpoints


class EndpointOutput(serializers.ModelSerializer):
    """An address at which webhooks are taken."""

    path = serializers.SerializerMethodField(help_text="Address on the tenant's host.")
    status = serializers.ChoiceField(choices=EndpointStatus.choices, read_only=True)
    scheme = serializers.ChoiceField(choices=SignatureScheme.choices, read_only=True)
    config = serializers.JSONField(read_only=True)
    signing_keys = SigningKeyOutput(many=True, read_only=True)
    last_received_at = serializers.DateTimeField(read_only=True, allow_null=True)
    accepted_24h = serializers.IntegerField(read_only=True, help_text="Taken in the last 24 hours, by whole hours.")
    duplicates_24h = serializers.IntegerField(read_only=True, help_text="Of ids that were known.")
    refused_24h = serializers.IntegerField(read_only=True)

    class Meta:
        model = InboundEndpoint
        fields = [
            "id", "name", "path", "scheme", "config", "event_type", "tolerance_s", "max_bytes", "rate_per_s", "burst",
            "status", "signing_keys", "last_received_at", "accepted_24h", "duplicates_24h", "refused_24h", "rejected",
            "last_rejected_at", "last_rejection", "created_at", "updated_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_path(self, row: InboundEndpoint) -> str:
        """`/hooks/<public id>`."""
        return f"/hooks/{row.public_id}"


class EndpointWithSecretOutput(EndpointOutput):
    """An endpoint with the secret that was made for it, in the one answer that ever holds it."""

    secret = serializers.CharField(allow_null=True, help_text="Null when you brought it. It is not shown again.")

    class Meta(EndpointOutput.Meta):
        fields = [*EndpointOutput.Meta.fields, "secret"]
        read_only_fields = fields


class EndpointInput(serializers.Serializer):
    """A new endpoint."""

    name = serializers.CharField(max_length=100)
    scheme = serializers.ChoiceField(choices=SignatureScheme.choices)
    event_type = serializers.CharField(max_length=150, default=WEBHOOK_RECEIVED.type)
    config = serializers.DictField(child=serializers.CharField(allow_blank=True), default=dict)
    secret = serializers.CharField(required=False, max_length=500, write_only=True)
    tolerance_s = serializers.IntegerField(default=300, min_value=10, max_value=3600)
    max_bytes = serializers.IntegerField(default=256 * 1024, min_value=1, max_value=1024 * 1024)
    rate_per_s = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    burst = serializers.IntegerField(required=False, allow_null=True, min_value=1)


class EndpointChangeInput(serializers.Serializer):
    """What changes; the rest stays."""

    name = serializers.CharField(max_length=100, required=False)
    event_type = serializers.CharField(max_length=150, required=False)
    config = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)
    tolerance_s = serializers.IntegerField(required=False, min_value=10, max_value=3600)
    max_bytes = serializers.IntegerField(required=False, min_value=1, max_value=1024 * 1024)
    rate_per_s = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, help_text="Webhooks a second; null = as installed."
    )
    burst = serializers.IntegerField(required=False, allow_null=True, min_value=1, help_text="At once after a rest.")
    status = serializers.ChoiceField(choices=[EndpointStatus.ACTIVE, EndpointStatus.PAUSED], required=False)


class MessageOutput(serializers.ModelSerializer):
    """A webhook that was taken."""

    class Meta:
        model = InboundMessage
        fields = ["id", "endpoint", "event_id", "message_id", "content_type", "size_bytes", "received_at"]
        read_only_fields = fields


class MessageDetailOutput(MessageOutput):
    """A webhook with its body as it came."""

    headers = serializers.JSONField(read_only=True)
    body = serializers.SerializerMethodField(help_text="Bytes that are not UTF-8 are replaced.")

    class Meta(MessageOutput.Meta):
        fields = [*MessageOutput.Meta.fields, "headers", "body"]
        read_only_fields = fields

    def get_body(self, row: InboundMessage) -> str:
        """The body as text."""
        return bytes(row.body).decode("utf-8", "replace")


class MessageListFilter(serializers.Serializer):
    """Limits of the list."""

    endpoint = serializers.UUIDField(required=False)
    message_id = serializers.CharField(required=False, max_length=256)


def _with_secret(endpoint_id: UUID, secret: str | None) -> dict[str, Any]:
    row = get_inbound_endpoint(endpoint_id)
    row.secret = secret  # type: ignore[attr-defined]
    return dict(EndpointWithSecretOutput(row).data)


class EndpointsView(GenericAPIView):
    """Endpoints of the tenant."""

    permission_classes = [HasPermission.of(read="webhook:view", write="webhook:edit")]
    serializer_class = EndpointOutput
    queryset = InboundEndpoint.objects.none()

    def get_queryset(self) -> QuerySet[InboundEndpoint]:
        """Endpoints that are not archived."""
        return list_inbound_endpoints()

    @extend_schema(operation_id="webhook_endpoint_list", tags=["events"], responses=EndpointOutput(many=True))
    def get(self, request: Request) -> Response:
        """Endpoints, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(EndpointOutput(page, many=True).data)

    @extend_schema(
        operation_id="webhook_endpoint_create", tags=["events"], request=EndpointInput,
        responses={201: EndpointWithSecretOutput},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Take webhooks at a new address; a secret that is made here is in the answer, this once."""
        given = read_input(EndpointInput, request.data)
        row, made = inbound_endpoints.create_endpoint(given.pop("name"), **given, actor=actor_of(request))
        return Response(_with_secret(row.id, made), status=status.HTTP_201_CREATED)


class EndpointView(APIView):
    """One endpoint."""

    permission_classes = [HasPermission.of(read="webhook:view", write="webhook:edit")]

    @extend_schema(operation_id="webhook_endpoint_retrieve", tags=["events"], responses=EndpointOutput)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """The endpoint and when it last took and refused something."""
        return Response(EndpointOutput(get_inbound_endpoint(endpoint_id)).data)

    @extend_schema(
        operation_id="webhook_endpoint_update", tags=["events"], request=EndpointChangeInput, responses=EndpointOutput
    )
    def patch(self, request: Request, endpoint_id: UUID) -> Response:
        """Change what is named; it counts within seconds."""
        changes = read_input(EndpointChangeInput, request.data)
        inbound_endpoints.update_endpoint(endpoint_id, actor=actor_of(request), **changes)
        return Response(EndpointOutput(get_inbound_endpoint(endpoint_id)).data)

    @extend_schema(operation_id="webhook_endpoint_archive", tags=["events"], request=None, responses={204: None})
    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        """Archive: the address is unknown from now on."""
        inbound_endpoints.archive_endpoint(endpoint_id, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class EndpointRotateView(APIView):
    """Rotate the secret."""

    permission_classes = [HasPermission.of(write="webhook:edit")]

    @extend_schema(
        operation_id="webhook_endpoint_rotate_secret", tags=["events"], request=RotateInput,
        responses=EndpointWithSecretOutput,
    )  # fmt: skip
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Take a new secret; the old one counts until the overlap ends."""
        given = read_input(RotateInput, request.data)
        row, made = inbound_endpoints.rotate_endpoint_secret(
            endpoint_id,
            secret=given.get("secret"),
            overlap=timedelta(seconds=given["overlap_s"]),
            actor=actor_of(request),
        )
        return Response(_with_secret(row.id, made))


class MessagesView(GenericAPIView):
    """Webhooks that were taken."""

    permission_classes = [HasPermission.of(read="webhook:view")]
    serializer_class = MessageOutput
    queryset = InboundMessage.objects.none()

    def get_queryset(self) -> QuerySet[InboundMessage]:
        """Messages within the given limits."""
        return list_inbound_messages().filter(**read_input(MessageListFilter, self.request.query_params))

    @extend_schema(
        operation_id="webhook_message_list", tags=["events"], parameters=[MessageListFilter],
        responses=MessageOutput(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Webhooks that were taken, newest first; without their bodies."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(MessageOutput(page, many=True).data)


class MessageView(APIView):
    """One webhook that was taken."""

    permission_classes = [HasPermission.of(read="webhook:inspect")]

    @extend_schema(operation_id="webhook_message_retrieve", tags=["events"], responses=MessageDetailOutput)
    def get(self, request: Request, message_id: UUID) -> Response:
        """The webhook with its body."""
        return Response(MessageDetailOutput(get_inbound_message(message_id)).data)
