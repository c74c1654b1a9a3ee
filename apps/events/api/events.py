"""`GET /api/v2/events` and `/event-types`: the tenant's event log and the catalogue of what may be in it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.filters import InstantFilter
from apps.events.api.inputs import read_input
from apps.events.contracts import to_full_type
from apps.events.models import Event
from apps.events.registries import event_types
from apps.events.selectors import get_event, list_event_contracts, list_events, to_record
from apps.events.services.event_contracts import publish_custom_event
from apps.events.services.payloads import build_schema


class CloudEventOutput(serializers.Serializer):
    """One event in CloudEvents 1.0 JSON format."""

    specversion = serializers.CharField(help_text="Always 1.0.")
    id = serializers.UUIDField(help_text="Deduplicate on it.")
    type = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    subject = serializers.CharField()
    time = serializers.DateTimeField()
    datacontenttype = serializers.CharField()
    dataschema = serializers.CharField()
    partitionkey = serializers.CharField(help_text="Events of one key are delivered in order.")
    sequence = serializers.CharField(required=False, help_text="Place in the log; absent until it is numbered.")
    data = serializers.JSONField()  # type: ignore[assignment]

    def to_representation(self, instance: Event) -> dict[str, Any]:
        """The row as a CloudEvent."""
        return to_record(instance).to_cloudevent()


class EventFilter(django_filters.FilterSet):
    """Filters of the list; all given ones must match."""

    type = django_filters.CharFilter(
        method="filter_type", help_text="Short or full type, or a beginning that ends with `*` (`run.*`)."
    )
    subject = django_filters.CharFilter(
        method="filter_subject", help_text="Exact subject, or a beginning that ends with `*` (`run/*`)."
    )
    to = InstantFilter(field_name="time", lookup_expr="lt", help_text="Before this time.")

    class Meta:
        model = Event
        fields: list[str] = []

    def filter_type(self, events: QuerySet[Event], _name: str, value: str) -> QuerySet[Event]:
        """Exact, or by prefix."""
        names = {value, to_full_type(value)}  # a tenant's own type is written in full
        if not value.endswith("*"):
            return events.filter(type__in=names)
        beginnings = [Q(type__startswith=name[:-1]) for name in names]
        return events.filter(beginnings[0] | beginnings[-1])

    def filter_subject(self, events: QuerySet[Event], _name: str, value: str) -> QuerySet[Event]:
        """Exact, or by prefix."""
        return events.filter(subject__startswith=value[:-1]) if value.endswith("*") else events.filter(subject=value)


# `from` is a word of the language, so this filter cannot be written as a class attribute.
EventFilter.base_filters["from"] = InstantFilter(
    field_name="time", lookup_expr="gte", help_text="At or after this time."
)


class EventPublishInput(serializers.Serializer):
    """A CloudEvent to publish; what is not named here is set by the portal."""

    id = serializers.CharField(max_length=200, help_text="Your id: publishing it again changes nothing.")
    type = serializers.CharField(max_length=150)
    subject = serializers.CharField(max_length=200)
    partitionkey = serializers.CharField(
        max_length=200, required=False, help_text="Events of one key are delivered in order; the subject when absent."
    )
    data = serializers.DictField(child=serializers.JSONField(allow_null=True))  # type: ignore[assignment]


class EventPublishOutput(serializers.Serializer):
    """What was published."""

    event = serializers.UUIDField()
    duplicate = serializers.BooleanField()


class EventsView(ListAPIView[Event]):
    """The tenant's event log."""

    permission_classes = [HasPermission.of(read="event:view", write="event:publish")]
    serializer_class = CloudEventOutput
    filterset_class = EventFilter
    queryset = Event.objects.none()

    def get_queryset(self) -> QuerySet[Event]:
        """Events of the tenant whose host was asked."""
        return list_events()

    @extend_schema(operation_id="events_list", summary="Event log, newest first", tags=["events"])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of events."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="events_publish",
        summary="Publish an event of your own type",
        tags=["events"],
        request=EventPublishInput,
        responses={200: EventPublishOutput, 201: EventPublishOutput},
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Publish an event of a type defined under event contracts; the same id again changes nothing (200)."""
        given = read_input(EventPublishInput, request.data)
        found = publish_custom_event(
            given["type"],
            subject=given["subject"],
            data=given["data"],
            client_id=given["id"],
            key=given.get("partitionkey"),
            actor=actor_of(request),
        )
        answer = {"event": str(found.event_id), "duplicate": found.duplicate}
        return Response(answer, status=status.HTTP_200_OK if found.duplicate else status.HTTP_201_CREATED)


class EventView(APIView):
    """One event."""

    permission_classes = [HasPermission.of(read="event:view")]

    @extend_schema(operation_id="events_retrieve", summary="One event", tags=["events"], responses=CloudEventOutput)
    def get(self, request: Request, event_id: UUID) -> Response:
        """The event with its data."""
        return Response(CloudEventOutput(get_event(event_id)).data)


class EventTypeOutput(serializers.Serializer):
    """One registered type."""

    type = serializers.CharField()
    description = serializers.CharField()
    origin = serializers.ChoiceField(choices=["portal", "tenant"], help_text="Who defined it.")
    schema = serializers.JSONField(help_text="JSON Schema of `data`.")


class EventTypeListOutput(serializers.Serializer):
    """The catalogue."""

    results = EventTypeOutput(many=True)


class EventTypesView(APIView):
    """Every type of event that the portal publishes, and those that the tenant defined."""

    permission_classes = [HasPermission.of(read="event:view")]

    @extend_schema(
        operation_id="event_types_list",
        summary="Types of events",
        tags=["events"],
        responses=EventTypeListOutput,
    )
    def get(self, request: Request) -> Response:
        """The catalogue, by type."""
        found = [
            {"type": item.type, "description": item.description, "origin": "portal", "schema": build_schema(item)}
            for item in event_types
        ]
        found += [
            {"type": row.type, "description": row.description, "origin": "tenant", "schema": row.latest_schema}  # type: ignore[attr-defined]
            for row in list_event_contracts()
        ]
        return Response({"results": sorted(found, key=lambda item: str(item["type"]))})
