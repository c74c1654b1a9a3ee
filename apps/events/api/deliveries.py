"""`/api/v2/event-deliveries`: what was sent where, each attempt, and sending one again."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.events.api.events import CloudEventOutput
from apps.events.api.inputs import read_input
from apps.events.choices import DeliveryStatus
from apps.events.models import Delivery, DeliveryAttempt
from apps.events.selectors import get_delivery, list_deliveries
from apps.events.services.deliveries import redeliver


class DeliveryOutput(serializers.ModelSerializer):
    """One event on its way to one subscription."""

    subscription_name = serializers.CharField(source="subscription.name", read_only=True)
    event_type = serializers.CharField(source="event.type", read_only=True)
    event_subject = serializers.CharField(source="event.subject", read_only=True)

    class Meta:
        model = Delivery
        fields = [
            "id", "subscription", "subscription_name", "event", "event_type", "event_subject", "replay", "lane",
            "status", "attempts", "failures", "next_attempt_at", "response_status", "error", "delivered_at",
            "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class AttemptOutput(serializers.ModelSerializer):
    """One attempt."""

    class Meta:
        model = DeliveryAttempt
        fields = ["number", "started_at", "duration_ms", "ok", "response_status", "error", "excerpt"]
        read_only_fields = fields


class DeliveryDetailOutput(DeliveryOutput):
    """A delivery with its event and its attempts, the latest first."""

    cloudevent = CloudEventOutput(source="event", read_only=True)
    attempt_log = AttemptOutput(source="attempt_rows", many=True, read_only=True)

    class Meta(DeliveryOutput.Meta):
        fields = [*DeliveryOutput.Meta.fields, "cloudevent", "attempt_log"]
        read_only_fields = fields


class DeliveryListFilter(serializers.Serializer):
    """Limits of the list."""

    subscription = serializers.UUIDField(required=False)
    event = serializers.UUIDField(required=False)
    replay = serializers.UUIDField(required=False)
    status = serializers.ChoiceField(choices=DeliveryStatus.choices, required=False)


class DeliveriesView(GenericAPIView):
    """Deliveries of the tenant."""

    permission_classes = [HasPermission.of(read="webhook:view")]
    serializer_class = DeliveryOutput
    queryset = Delivery.objects.none()

    def get_queryset(self) -> QuerySet[Delivery]:
        """Deliveries within the given limits."""
        return list_deliveries().filter(**read_input(DeliveryListFilter, self.request.query_params))

    @extend_schema(
        operation_id="event_delivery_list", tags=["events"], parameters=[DeliveryListFilter],
        responses=DeliveryOutput(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Deliveries, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(DeliveryOutput(page, many=True).data)


class DeliveryView(APIView):
    """One delivery."""

    permission_classes = [HasPermission.of(read="webhook:view")]

    @extend_schema(operation_id="event_delivery_retrieve", tags=["events"], responses=DeliveryDetailOutput)
    def get(self, request: Request, delivery_id: UUID) -> Response:
        """The delivery with its event and every attempt."""
        return Response(DeliveryDetailOutput(get_delivery(delivery_id)).data)


class RedeliverView(APIView):
    """Send one again."""

    permission_classes = [HasPermission.of(write="event:replay")]

    @extend_schema(
        operation_id="event_delivery_redeliver", tags=["events"], request=None, responses=DeliveryDetailOutput
    )
    def post(self, request: Request, delivery_id: UUID) -> Response:
        """Send a delivery again, whatever became of it."""
        redeliver(delivery_id, actor=actor_of(request))
        return Response(DeliveryDetailOutput(get_delivery(delivery_id)).data)
