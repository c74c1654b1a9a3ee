"""REST v2 of triggers: what starts runs by itself, when it fires next, and what came of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.inputs import read_input
from apps.engine.api.serializers import ErrorSerializer, FlowRefSerializer
from apps.engine.choices import CatchUp, FiringStatus, TriggerKind, TriggerStatus
from apps.engine.models import Firing, Trigger
from apps.engine.selectors import get_trigger, list_firings, list_triggers
from apps.engine.services.triggers.cron import PREVIEW_MOST, Schedule, check_schedule, explain_cron, preview_schedule
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


def describe_trigger(row: Trigger) -> str:
    """The schedule or the types as a sentence."""
    if row.kind == TriggerKind.SCHEDULE:
        return explain_cron(row.cron)
    return f"On {', '.join(row.types)}"


class TriggerSerializer(serializers.ModelSerializer[Trigger]):
    """A trigger with when it fired last and when it is due next."""

    flow = serializers.SerializerMethodField()
    environment = serializers.CharField(source="environment.slug", read_only=True)
    kind = serializers.ChoiceField(choices=TriggerKind.choices, read_only=True)
    status = serializers.ChoiceField(choices=TriggerStatus.choices, read_only=True)
    catch_up = serializers.ChoiceField(choices=CatchUp.choices, read_only=True)
    types = serializers.ListField(child=serializers.CharField(), read_only=True)
    parameters = serializers.DictField(read_only=True)
    mapping = serializers.DictField(child=serializers.CharField(), read_only=True)
    description = serializers.SerializerMethodField()
    flow_paused = serializers.SerializerMethodField()
    last_error = serializers.SerializerMethodField()

    class Meta:
        model = Trigger
        fields = [
            "id",
            "flow",
            "flow_paused",
            "environment",
            "name",
            "kind",
            "status",
            "status_reason",
            "description",
            "cron",
            "zone",
            "calendar",
            "catch_up",
            "catch_up_limit",
            "types",
            "filter",
            "parameters",
            "mapping",
            "next_due_at",
            "last_fired_at",
            "last_run",
            "last_error",
            "created_by_name",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields

    @extend_schema_field(FlowRefSerializer)
    def get_flow(self, row: Trigger) -> dict[str, Any]:
        """What is started."""
        return {"id": row.flow_id, "name": row.flow.name}

    def get_flow_paused(self, row: Trigger) -> bool:
        """Whether the flow is paused, so that firings are left out."""
        return row.flow.paused_at is not None

    def get_description(self, row: Trigger) -> str:
        """The schedule or the types as a sentence."""
        return describe_trigger(row)

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_last_error(self, row: Trigger) -> dict[str, Any] | None:
        """Why the last firing started nothing; null after one that did."""
        return row.last_error


class TriggerChange(serializers.Serializer[Any]):
    """Changes of a trigger; what is left out stays."""

    name = serializers.CharField(max_length=100, required=False)
    cron = serializers.CharField(max_length=100, required=False, help_text="Minute, hour, day, month, day of the week.")
    zone = serializers.CharField(max_length=64, required=False, help_text="IANA name, such as Europe/Zurich.")
    calendar = serializers.CharField(max_length=63, required=False, allow_blank=True)
    catch_up = serializers.ChoiceField(choices=CatchUp.choices, required=False)
    catch_up_limit = serializers.IntegerField(min_value=1, max_value=100, required=False)
    types = serializers.ListField(child=serializers.CharField(max_length=150), required=False, max_length=50)
    filter = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    parameters = serializers.DictField(required=False)
    mapping = serializers.DictField(child=serializers.CharField(max_length=4000), required=False)


class TriggerInput(TriggerChange):
    """A new trigger. A schedule needs `cron` and `zone`, an event trigger `types`."""

    flow = serializers.UUIDField()
    environment = serializers.CharField(max_length=20)
    name = serializers.CharField(max_length=100)
    kind = serializers.ChoiceField(choices=TriggerKind.choices)


class TriggerPauseInput(serializers.Serializer[Any]):
    """Why a trigger is paused, for people."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")


class SchedulePreviewInput(serializers.Serializer[Any]):
    """A schedule to try."""

    cron = serializers.CharField(max_length=100)
    zone = serializers.CharField(max_length=64)
    calendar = serializers.CharField(max_length=63, required=False, allow_blank=True, default="")
    count = serializers.IntegerField(min_value=1, max_value=PREVIEW_MOST, required=False, default=10)
    after = serializers.DateTimeField(required=False, help_text="Now when absent.")


class NextInput(serializers.Serializer[Any]):
    """How many moments."""

    count = serializers.IntegerField(min_value=1, max_value=PREVIEW_MOST, required=False, default=10)


class TriggerCheckInput(TriggerChange):
    """A trigger to try: its kind and settings as they would be saved."""

    kind = serializers.ChoiceField(choices=TriggerKind.choices)
    count = serializers.IntegerField(min_value=0, max_value=PREVIEW_MOST, required=False, default=5)


class TriggerProblemSerializer(serializers.Serializer[Any]):
    """One finding about one setting."""

    path = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    severity = serializers.CharField()
    start = serializers.IntegerField(required=False)
    end = serializers.IntegerField(required=False)
    hint = serializers.CharField(required=False)


class TriggerCheckSerializer(serializers.Serializer[Any]):
    """What would be refused, and when a schedule without a problem fires next, in UTC."""

    problems = TriggerProblemSerializer(many=True)
    description = serializers.CharField(allow_blank=True)
    moments = serializers.ListField(child=serializers.DateTimeField())


class MomentsSerializer(serializers.Serializer[Any]):
    """The next moments, in UTC, and the schedule as a sentence."""

    description = serializers.CharField()
    moments = serializers.ListField(child=serializers.DateTimeField())


class FiringSerializer(serializers.ModelSerializer[Firing]):
    """One firing: the moment or event, and what came of it."""

    status = serializers.ChoiceField(choices=FiringStatus.choices, read_only=True)
    parameters = serializers.DictField(read_only=True)
    error = serializers.SerializerMethodField()

    class Meta:
        model = Firing
        fields = [
            "id",
            "due_at",
            "event_id",
            "status",
            "run",
            "parameters",
            "missed",
            "error",
            "attempts",
            "next_attempt_at",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, row: Firing) -> dict[str, Any] | None:
        """Why it started nothing."""
        return row.error


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
        """The next moments of a schedule, paused or not; none for an event trigger."""
        count = read_input(NextInput, request.query_params)["count"]
        row = get_trigger(trigger_id)
        moments = []
        if row.kind == TriggerKind.SCHEDULE:
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
        problems = check_trigger(kind, wanted, actor=actor_of(request))
        found: dict[str, Any] = {"problems": [problem.to_json() for problem in problems]}
        schedule = Schedule(wanted.get("cron", ""), wanted.get("zone", ""), wanted.get("calendar", ""))
        usable = kind == TriggerKind.SCHEDULE and not check_schedule(schedule)
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
