"""REST v2 of tasks for people."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import django_filters
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.contracts import Actor
from apps.access.selectors import list_members
from apps.access.services.http import HasPermission, actor_of
from apps.engine.api.task_serializers import AnswerSerializer, DelegateSerializer, TaskListSerializer, TaskSerializer
from apps.engine.choices import TaskStatus
from apps.engine.models import HumanTask
from apps.engine.selectors import get_task, list_tasks, tasks_of
from apps.engine.services.human_tasks import ANSWER, answer_task, claim_task, delegate_task, release_task

CanSee = HasPermission.of(read="task:view")
CanAct = HasPermission.of(read="task:view", write=None)


def task_to_json(task: HumanTask, actor: Actor) -> dict[str, Any]:
    """A task as its page shows it."""
    person = actor.user_id if actor.kind == "user" and actor.has(ANSWER) else None
    context = {
        "people": list_members().filter(pk__in=task.people).prefetch_related(None),
        "may_answer": person is not None and tasks_of(HumanTask.objects.filter(pk=task.pk), person).exists(),
    }
    return dict(TaskSerializer(task, context=context).data)


class TaskFilter(django_filters.FilterSet):
    """`?status=&run=&flow=&mine=`; `mine=true` are those that wait for who asks."""

    status = django_filters.MultipleChoiceFilter(choices=TaskStatus.choices)
    run = django_filters.UUIDFilter(field_name="run_id")
    flow = django_filters.UUIDFilter(field_name="run__flow_id")
    mine = django_filters.BooleanFilter(method="only_mine")

    class Meta:
        model = HumanTask
        fields = ["status", "run", "flow", "mine"]

    def only_mine(self, tasks: Any, _name: str, wanted: bool) -> Any:
        """Tasks that wait for the person; all of them for `false`."""
        if not wanted:
            return tasks
        actor = actor_of(self.request)
        return tasks.none() if actor.user_id is None else tasks_of(tasks, actor.user_id)


class TaskListView(generics.ListAPIView):
    """Tasks, newest first."""

    permission_classes = [CanSee]
    serializer_class = TaskListSerializer
    filterset_class = TaskFilter

    def get_queryset(self) -> Any:
        """Tasks of the tenant."""
        return list_tasks()


class TaskDetailView(APIView):
    """One task."""

    permission_classes = [CanSee]

    @extend_schema(responses=TaskSerializer)
    def get(self, request: Request, task_id: UUID) -> Response:
        """The task with its form, candidates and answers."""
        return Response(task_to_json(get_task(task_id), actor_of(request)))


class TaskClaimView(APIView):
    """Take a task."""

    permission_classes = [CanAct]

    @extend_schema(request=None, responses=TaskSerializer)
    def post(self, request: Request, task_id: UUID) -> Response:
        """Nobody else may answer it until it is given back."""
        actor = actor_of(request)
        return Response(task_to_json(claim_task(task_id, actor=actor), actor))


class TaskReleaseView(APIView):
    """Give a task back."""

    permission_classes = [CanAct]

    @extend_schema(request=None, responses=TaskSerializer)
    def post(self, request: Request, task_id: UUID) -> Response:
        """Every candidate may answer it again."""
        actor = actor_of(request)
        return Response(task_to_json(release_task(task_id, actor=actor), actor))


class TaskAnswerView(APIView):
    """Answer a task."""

    permission_classes = [CanAct]

    @extend_schema(request=AnswerSerializer, responses=TaskSerializer, operation_id="tasks_answer")
    def post(self, request: Request, task_id: UUID) -> Response:
        """Record the answer; the process goes on when enough have answered."""
        given = AnswerSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        actor = actor_of(request)
        return Response(task_to_json(answer_task(task_id, given.validated_data["answer"], actor=actor), actor))


class TaskDelegateView(APIView):
    """Delegate a task."""

    permission_classes = [CanAct]

    @extend_schema(request=DelegateSerializer, responses=TaskSerializer, operation_id="tasks_delegate")
    def post(self, request: Request, task_id: UUID) -> Response:
        """Let somebody else answer in one's place."""
        given = DelegateSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        actor = actor_of(request)
        return Response(task_to_json(delegate_task(task_id, given.validated_data["to"], actor=actor), actor))
