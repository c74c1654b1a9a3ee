"""REST v2 of runs and replays."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.contracts import Actor
from apps.access.services.http import HasPermission, actor_of
from apps.access.services.permissions import check_permission
from apps.engine.api.serializers import (
    ReplaySerializer,
    RunListSerializer,
    RunLogPageSerializer,
    RunLogSerializer,
    RunSerializer,
    StartRunSerializer,
    StepAttemptSerializer,
    StepDetailSerializer,
)
from apps.engine.choices import ACTIVE_RUN_STATUSES, RunKind, RunStatus, RunTrigger
from apps.engine.models import Run, StepResult
from apps.engine.selectors import get_attempt, get_run, list_attempts, list_log, list_runs, list_stages
from apps.engine.services.controlling import cancel_run, resume_run, retry_compensation, retry_run
from apps.engine.services.processes.inputs import list_inputs
from apps.engine.services.replays import ReplayRequest, start_replay_run
from apps.engine.services.runs import StartRequest, start_run
from apps.quality.selectors import find_reconciliation

LOG_PAGE = 200
LOG_PAGE_MOST = 1000
CanSee = HasPermission.of(read="run:view")
CanAct = HasPermission.of(read="run:view", write=None)


def run_to_json(run: Run, actor: Actor) -> dict[str, Any]:
    """A run as its page shows it: three queries, whatever its size. Rows of a system need `connection:use`."""
    found = find_reconciliation(run.pk)
    context: dict[str, Any] = {"stages": list_stages(run.pk), "reconciliation": asdict(found) if found else None}
    context["may_see_rows"] = actor.has("connection:use")
    return dict(RunSerializer(run, context=context).data)


class RunFilter(django_filters.FilterSet):
    """`?flow=&status=&environment=&kind=&sla=`; `status` may be given several times."""

    flow = django_filters.UUIDFilter(field_name="flow_id")
    environment = django_filters.CharFilter(field_name="environment__slug")
    status = django_filters.MultipleChoiceFilter(choices=RunStatus.choices)
    kind = django_filters.ChoiceFilter(choices=RunKind.choices)
    sla = django_filters.ChoiceFilter(
        choices=[("missed", "Not finished in time"), ("watched", "At work, and still in time")],
        method="filter_sla",
        help_text="By the deadline.",
    )

    class Meta:
        model = Run
        fields = ["flow", "environment", "status", "kind"]

    def filter_sla(self, runs: QuerySet[Run], _name: str, value: str) -> QuerySet[Run]:
        """Late runs, or those that can still be in time."""
        if value == "missed":
            return runs.filter(sla_missed_at__isnull=False)
        return runs.filter(sla_due_at__isnull=False, sla_missed_at__isnull=True, status__in=ACTIVE_RUN_STATUSES)


class RunListView(generics.ListAPIView):
    """Runs, newest first."""

    permission_classes = [CanSee]
    serializer_class = RunListSerializer
    filterset_class = RunFilter

    def get_queryset(self) -> Any:
        """Runs of the tenant."""
        return list_runs()


class RunDetailView(APIView):
    """One run."""

    permission_classes = [CanSee]

    @extend_schema(responses=RunSerializer)
    def get(self, request: Request, run_id: UUID) -> Response:
        """The run with its stages, progress and reconciliation."""
        return Response(run_to_json(get_run(run_id), actor_of(request)))


class FlowRunsView(APIView):
    """Start a run of a flow."""

    permission_classes = [CanAct]

    @extend_schema(
        request=StartRunSerializer,
        responses={202: RunSerializer},
        operation_id="flows_runs_create",
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="A repeated request with the same key gets the first one's run; other content gets 409.",
            )
        ],
    )
    def post(self, request: Request, flow_id: UUID) -> Response:
        """Queue a run; it starts at once when nothing is in its way."""
        body, key = request.data, request.headers.get("Idempotency-Key")
        if key and isinstance(body, dict) and not body.get("idempotency_key"):
            body = {**body, "idempotency_key": key}
        given = StartRunSerializer(data=body)
        given.is_valid(raise_exception=True)
        actor = actor_of(request)
        values = given.validated_data
        run = start_run(
            StartRequest(
                flow_id=flow_id,
                environment=values["environment"],
                version=values.get("version"),
                mode=values.get("mode") or None,
                since=values.get("since") or None,
                parameters=values.get("parameters") or {},
                idempotency_key=values.get("idempotency_key") or None,
                trigger=RunTrigger.MANUAL if actor.kind == "user" else RunTrigger.API,
            ),
            actor=actor,
        )
        return Response(run_to_json(get_run(run.pk), actor_of(request)), status=status.HTTP_202_ACCEPTED)


class RunLogView(APIView):
    """The log of a run."""

    permission_classes = [CanSee]

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "after", OpenApiTypes.INT64, description="`next_after` of the last page; 0 = from the start."
            ),
            OpenApiParameter("limit", OpenApiTypes.INT, description=f"Lines, 1 to {LOG_PAGE_MOST}."),
        ],
        responses=RunLogPageSerializer,
    )
    def get(self, request: Request, run_id: UUID) -> Response:
        """Lines after a cursor; an empty page means that nothing new was said yet."""
        get_run(run_id)
        after = _number(request, "after", 0, 2**62)
        limit = max(1, _number(request, "limit", LOG_PAGE, LOG_PAGE_MOST))
        lines = list_log(run_id, after=after, limit=limit)
        return Response(
            {"results": RunLogSerializer(lines, many=True).data, "next_after": lines[-1].seq if lines else after}
        )


class AttemptFilter(django_filters.FilterSet):
    """`?path=` for the attempts at one step."""

    path = django_filters.CharFilter()

    class Meta:
        model = StepResult
        fields = ["path"]


class RunStepsView(generics.ListAPIView):
    """Every attempt at every step of a run, or at one."""

    permission_classes = [CanSee]
    serializer_class = StepAttemptSerializer
    queryset = StepResult.objects.none()
    filterset_class = AttemptFilter

    def get_queryset(self) -> Any:
        """Attempts of the run in the address; 404 when there is no such run."""
        if getattr(self, "swagger_fake_view", False):
            return self.queryset
        get_run(self.kwargs["run_id"])
        return list_attempts(self.kwargs["run_id"])


class RunStepView(APIView):
    """One attempt at one step."""

    permission_classes = [CanSee]

    @extend_schema(responses=StepDetailSerializer)
    def get(self, request: Request, run_id: UUID, step_id: UUID) -> Response:
        """The attempt with its data; that may hold rows, so seeing it needs `connection:use`, too."""
        check_permission(actor_of(request), "connection:use")
        step = get_attempt(run_id, step_id)
        inputs = list_inputs(get_run(run_id), step)
        return Response(StepDetailSerializer(step, context={"inputs": inputs}).data)


class RunActionView(APIView):
    """Cancel, resume or retry a run, or its compensation."""

    permission_classes = [CanAct]
    action = ""

    @extend_schema(request=None, responses={202: RunSerializer})
    def post(self, request: Request, run_id: UUID) -> Response:
        """Do what the address names; the answer is the run that is now active (a retry makes a new one)."""
        act = {"cancel": cancel_run, "resume": resume_run, "retry": retry_run, "compensate": retry_compensation}[
            self.action
        ]
        run = act(run_id, actor=actor_of(request))
        return Response(run_to_json(get_run(run.pk), actor_of(request)), status=status.HTTP_202_ACCEPTED)


class QuarantineReplayView(APIView):
    """Try quarantined rows again."""

    permission_classes = [CanAct]

    @extend_schema(request=ReplaySerializer, responses={202: RunSerializer}, operation_id="quarantine_replay")
    def post(self, request: Request) -> Response:
        """Start a run whose source are the chosen rows, corrections applied."""
        given = ReplaySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        run = start_replay_run(
            ReplayRequest(
                ids=tuple(values["ids"]) if values.get("ids") else None,
                run_id=values.get("run"),
                flow_id=values.get("flow"),
            ),
            actor=actor_of(request),
        )
        return Response(run_to_json(get_run(run.pk), actor_of(request)), status=status.HTTP_202_ACCEPTED)


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text in (None, ""):
        return default
    try:
        value = int(str(text))
    except ValueError:
        raise serializers.ValidationError({name: "Give a whole number."}) from None
    if value < 0:
        raise serializers.ValidationError({name: "Give a number that is not negative."})
    return min(value, most)
