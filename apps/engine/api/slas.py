"""REST v2 of deadlines: when runs of a flow must be finished in an environment."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.inputs import read_input
from apps.engine.models import Sla
from apps.engine.selectors import list_slas
from apps.engine.services.slas import ALL_DAYS, remove_sla, save_sla
from apps.integrations.selectors import get_flow

Rights = HasPermission.of(read="flow:view", write="flow:deploy")


class SlaSerializer(serializers.ModelSerializer[Sla]):
    """When runs must be finished: within a duration, by a local time on some days, or both."""

    environment = serializers.CharField(source="environment.slug", read_only=True)
    days = serializers.ListField(child=serializers.IntegerField(), read_only=True)

    class Meta:
        model = Sla
        fields = ["environment", "within_s", "by", "zone", "days", "updated_at"]
        read_only_fields = fields


class SlaInput(serializers.Serializer[Any]):
    """A duration, a time of day with its zone, or both; the earlier moment counts."""

    within_s = serializers.IntegerField(required=False, allow_null=True, default=None)
    by = serializers.TimeField(required=False, allow_null=True, default=None)
    zone = serializers.CharField(required=False, allow_blank=True, max_length=64, default="")
    days = serializers.ListField(
        child=serializers.IntegerField(),
        required=False,
        max_length=7,
        default=list(ALL_DAYS),
        help_text="1 = Monday to 7 = Sunday.",
    )


class SlaListView(generics.ListAPIView[Sla]):
    """Deadlines of a flow, by environment."""

    permission_classes = [Rights]
    serializer_class = SlaSerializer
    queryset = Sla.objects.none()
    filter_backends: list[Any] = []

    def get_queryset(self) -> Any:
        """Deadlines of the flow in the address; 404 when there is no such flow."""
        if getattr(self, "swagger_fake_view", False):
            return self.queryset
        return list_slas(get_flow(self.kwargs["flow_id"]).id)

    @extend_schema(operation_id="sla_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Deadlines of the flow's runs, one for each environment that has one."""
        return super().get(request, *args, **kwargs)


class SlaView(APIView):
    """The deadline of a flow's runs in one environment."""

    permission_classes = [Rights]

    @extend_schema(operation_id="sla_save", request=SlaInput, responses=SlaSerializer)
    def put(self, request: Request, flow_id: UUID, environment: str) -> Response:
        """Set it, for runs that are started from now on."""
        row = save_sla(flow_id, environment, actor=actor_of(request), **read_input(SlaInput, request.data))
        return Response(SlaSerializer(row).data)

    @extend_schema(operation_id="sla_remove", responses={204: None})
    def delete(self, request: Request, flow_id: UUID, environment: str) -> Response:
        """Expect nothing any more; runs that have begun keep their deadline."""
        remove_sla(flow_id, environment, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)
