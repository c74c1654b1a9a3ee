"""JSON shapes of tasks for people."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.engine.api.serializers import FlowRefSerializer
from apps.engine.choices import TaskStatus
from apps.engine.models import HumanTask


class TaskPersonSerializer(serializers.Serializer[Any]):
    """A member by id, name and address."""

    id = serializers.UUIDField()
    name = serializers.CharField(allow_blank=True)
    email = serializers.EmailField()


class TaskListSerializer(serializers.Serializer[HumanTask]):
    """A task as the inbox shows it."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    status = serializers.ChoiceField(choices=TaskStatus.choices)
    run = serializers.UUIDField(source="run_id")
    flow = serializers.SerializerMethodField()
    path = serializers.CharField()
    role = serializers.CharField(allow_blank=True)
    required = serializers.IntegerField()  # type: ignore[assignment]  # a field, which DRF takes out of the class
    answered = serializers.IntegerField()
    claimed_by = TaskPersonSerializer(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(FlowRefSerializer)
    def get_flow(self, task: HumanTask) -> dict[str, Any]:
        """The flow whose run asks."""
        return {"id": str(task.run.flow_id), "name": task.run.flow_name}


class TaskAnswerRowSerializer(serializers.Serializer[Any]):
    """One person's answer."""

    person = serializers.UUIDField(source="person_id")
    person_name = serializers.CharField()
    values = serializers.DictField()
    created_at = serializers.DateTimeField()


class TaskSerializer(TaskListSerializer):
    """A task with its form, candidates and answers."""

    description = serializers.CharField(allow_blank=True)
    shown = serializers.DictField()
    form = serializers.DictField()
    delegation = serializers.BooleanField()
    no_self_approval = serializers.SerializerMethodField()
    people = serializers.SerializerMethodField()
    may_answer = serializers.SerializerMethodField()
    answers = TaskAnswerRowSerializer(many=True)

    def get_no_self_approval(self, task: HumanTask) -> bool:
        """Whether somebody is barred because they started the run."""
        return bool(task.barred)

    @extend_schema_field(TaskPersonSerializer(many=True))
    def get_people(self, task: HumanTask) -> Any:
        """Candidates by name."""
        return TaskPersonSerializer(self.context["people"], many=True).data

    def get_may_answer(self, task: HumanTask) -> bool:
        """Whether it waits for who asks."""
        return bool(self.context["may_answer"])


class AnswerSerializer(serializers.Serializer[Any]):
    """An answer: what the form asks for."""

    answer = serializers.DictField()


class DelegateSerializer(serializers.Serializer[Any]):
    """Who shall answer instead."""

    to = serializers.UUIDField()
