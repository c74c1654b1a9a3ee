"""REST v2: business calendars."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.integrations.models import Calendar
from apps.integrations.services.calendars import DEFAULT_REST, get_calendar, save_calendar


class CalendarInput(serializers.Serializer[Any]):
    """What a calendar is made of."""

    name = serializers.CharField(max_length=100)
    zone = serializers.CharField(max_length=64)
    rest_days = serializers.ListField(child=serializers.IntegerField(), max_length=7, default=list(DEFAULT_REST))
    holidays = serializers.ListField(child=serializers.DateField(), max_length=2000, default=list)


class CalendarSerializer(serializers.ModelSerializer[Calendar]):
    """A calendar."""

    rest_days = serializers.ListField(child=serializers.IntegerField())
    holidays = serializers.ListField(child=serializers.DateField())

    class Meta:
        model = Calendar
        fields = ["id", "slug", "name", "zone", "rest_days", "holidays", "updated_at"]
        read_only_fields = fields


class CalendarListView(ListAPIView[Calendar]):
    """Calendars of the tenant."""

    permission_classes = [HasPermission.of(read="environment:view")]
    serializer_class = CalendarSerializer
    queryset = Calendar.objects.none()

    def get_queryset(self) -> Any:
        """Calendars, newest first."""
        return Calendar.objects.order_by("-id")

    @extend_schema(operation_id="calendar_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Calendars, newest first."""
        return self.list(request, *args, **kwargs)


class CalendarView(APIView):
    """One calendar."""

    permission_classes = [HasPermission.of(read="environment:view", write="environment:manage")]

    @extend_schema(operation_id="calendar_get", responses=CalendarSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """The calendar."""
        return Response(CalendarSerializer(get_calendar(slug)).data)

    @extend_schema(operation_id="calendar_save", request=CalendarInput, responses=CalendarSerializer)
    def put(self, request: Request, slug: str) -> Response:
        """Make or replace the calendar; waits that began keep the moment that was computed for them."""
        given = CalendarInput(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(CalendarSerializer(save_calendar(slug, actor=actor_of(request), **given.validated_data)).data)
