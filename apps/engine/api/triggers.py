"""REST v2 of triggers: what starts runs by itself, when it fires next, and what came of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.inputs import read_input
from apps.engine.api.trigger_serializers import (
    FiringSerializer,
    MomentsSerializer,
    NextInput,
    SchedulePreviewInput,
    TriggerChange,
    TriggerCheckInput,
    TriggerCheckSerializer,
    TriggerInput,
    TriggerPauseInput,
    TriggerSerializer,
    describe_trigger,
)
from apps.engine.choices import FiringStatus, TriggerKind, TriggerStatus
from apps.engine.models import Firing, Trigger
from apps.engine.selectors import get_trigger, list_firings, list_triggers
from apps.engine.services.triggers.cron import Schedule, check_schedule, explain_cron, preview_schedule
from apps.engine.services.triggers.editing import (
    check_trigger,
    create_trigger,
    database_now,
    delete_trigger,
    pause_trigger,
    resume_trigger,
    schedule_of,
    update_trigger,
)

Rights = HasPermission.of(read="flow:view", write="flow:deploy")


class TriggerFilter(django_filters.FilterSet):
    """`?flow=&environment=&kind=&status=&search=`."""

    flow = django_filters.UUIDFilter(field_name="flow_id")
    search = django_filters.CharFilter(method="filter_search", help_text="Part of the trigger's or the flow's name.")
    environment = django_filters.CharFilter(field_name="environment__slug")
    kind = django_filters.ChoiceFilter(choices=TriggerKind.choices)
    status = django_filters.ChoiceFilter(choices=TriggerStatus.choices)

    class Meta:
        model = Trigger
        fields = ["flow", "environment", "kind", "status"]

    def filter_search(self, rows: QuerySet[Trigger], _name: str, value: str) -> QuerySet[Trigger]:
        """Part of either name."""
        return rows.filter(Q(name__icontains=value) | Q(flow__name__icontains=value))


class FiringFilter(django_filters.FilterSet):
    """`?status=`."""

    status = django_filters.ChoiceFilter(choices=FiringStatus.choices)

    class Meta:
        model = Firing
        fields = ["status"]


def trigger_response(trigger_id: UUID, code: int = status.HTTP_200_OK) -> Response:
    """One trigger as it stands."""
    return Response(TriggerSerializer(get_trigger(trigger_id)).data, status=code)


class TriggerListView(generics.ListAPIView[Trigger]):
    """Triggers of the tenant."""

    permission_classes = [Rights]
    serializer_class = TriggerSerializer
    filterset_class = TriggerFilter
    queryset = Trigger.objects.none()

    def get_queryset(self) -> Any:
        """Triggers, newest first."""
        return list_triggers()

    @extend_schema(operation_id="trigger_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Triggers, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="trigger_create", request=TriggerInput, responses={201: TriggerSerializer})
    def post(self, request: Request) -> Response:
        """Let a schedule or a kind of event start the flow's deployed version, from now on."""
        wanted = read_input(TriggerInput, request.data)
        row = create_trigger(
            wanted.pop("flow"),
            wanted.pop("environment"),
            kind=wanted.pop("kind"),
            actor=actor_of(request),
            **wanted,
        )
        return trigger_response(row.pk, status.HTTP_201_CREATED)


class TriggerView(APIView):
    """One trigger."""

    permission_classes = [Rights]

    @extend_schema(operation_id="trigger_get", responses=TriggerSerializer)
    def get(self, request: Request, trigger_id: UUID) -> Response:
        """The trigger."""
        return trigger_response(trigger_id)

    @extend_schema(operation_id="trigger_update", request=TriggerChange, responses=TriggerSerializer)
    def patch(self, request: Request, trigger_id: UUID) -> Response:
        """Change it; a changed schedule counts from now on."""
        update_trigger(trigger_id, actor=actor_of(request), **read_input(TriggerChange, request.data))
        return trigger_response(trigger_id)

    @extend_schema(operation_id="trigger_delete", responses={204: None})
    def delete(self, request: Request, trigger_id: UUID) -> Response:
        """Remove it with the record of its firings; its runs stay."""
        delete_trigger(trigger_id, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class TriggerPauseView(APIView):
    """Holding a trigger."""

    permission_classes = [Rights]

    @extend_schema(operation_id="trigger_pause", request=TriggerPauseInput, responses=TriggerSerializer)
    def post(self, request: Request, trigger_id: UUID) -> Response:
        """Fire no more for now; what would have fired meanwhile is not made up for."""
        pause_trigger(trigger_id, actor=actor_of(request), **read_input(TriggerPauseInput, request.data))
        return trigger_response(trigger_id)


class TriggerResumeView(APIView):
    """The end of holding a trigger."""

    permission_classes = [Rights]

    @extend_schema(operation_id="trigger_resume", request=None, responses=TriggerSerializer)
    def post(self, request: Request, trigger_id: UUID) -> Response:
        """Fire again, from now on."""
        resume_trigger(trigger_id, actor=actor_of(request))
        return trigger_response(trigger_id)


class TriggerNextView(APIView):
    """When a schedule fires."""

    permission_classes = [Rights]

    @extend_schema(operation_id="trigger_next", parameters=[NextInput], responses=MomentsSerializer)
    def get(self, request: Request, trigger_id: UUID) -> Response:
        """The next moments of a schedule or of a poll by cron, paused or not; else none."""
        count = read_input(NextInput, request.query_params)["count"]
        row = get_trigger(trigger_id)
        moments = []
        if row.kind != TriggerKind.EVENT and row.cron:
            moments = preview_schedule(schedule_of(row), database_now(), count)
        return Response(MomentsSerializer({"description": describe_trigger(row), "moments": moments}).data)


class SchedulePreviewView(APIView):
    """Trying a schedule before it is saved."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:view")]

    @extend_schema(operation_id="schedule_preview", request=SchedulePreviewInput, responses=MomentsSerializer)
    def post(self, request: Request) -> Response:
        """The next moments of a cron expression, or what is wrong with it."""
        wanted = read_input(SchedulePreviewInput, request.data)
        schedule = Schedule(wanted["cron"], wanted["zone"], wanted["calendar"])
        moments = preview_schedule(schedule, wanted.get("after") or database_now(), wanted["count"])
        return Response(MomentsSerializer({"description": explain_cron(wanted["cron"]), "moments": moments}).data)


class TriggerCheckView(APIView):
    """Trying a trigger before it is saved."""

    permission_classes = [Rights]

    @extend_schema(operation_id="trigger_check", request=TriggerCheckInput, responses=TriggerCheckSerializer)
    def post(self, request: Request) -> Response:
        """Everything that is wrong with it, by field, and the next moments of a schedule; nothing is saved."""
        wanted = read_input(TriggerCheckInput, request.data)
        kind, count = wanted.pop("kind"), wanted.pop("count")
        environment = wanted.pop("environment")
        problems = check_trigger(kind, wanted, actor=actor_of(request), environment=environment)
        found: dict[str, Any] = {"problems": [problem.to_json() for problem in problems]}
        schedule = Schedule(wanted.get("cron", ""), wanted.get("zone", ""), wanted.get("calendar", ""))
        usable = bool(schedule.cron) and kind != TriggerKind.EVENT and not check_schedule(schedule)
        found["description"] = explain_cron(schedule.cron) if usable else ""
        found["moments"] = preview_schedule(schedule, database_now(), count) if usable else []
        return Response(TriggerCheckSerializer(found).data)


class FiringListView(generics.ListAPIView[Firing]):
    """What a trigger has done."""

    permission_classes = [Rights]
    serializer_class = FiringSerializer
    filterset_class = FiringFilter
    queryset = Firing.objects.none()

    def get_queryset(self) -> Any:
        """Firings of the trigger in the address; 404 when there is no such trigger."""
        if getattr(self, "swagger_fake_view", False):
            return self.queryset
        get_trigger(self.kwargs["trigger_id"])
        return list_firings(self.kwargs["trigger_id"])

    @extend_schema(operation_id="trigger_firing_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Firings of the trigger, newest first."""
        return super().get(request, *args, **kwargs)
