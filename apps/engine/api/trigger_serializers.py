"""JSON shapes of triggers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.engine.api.serializers import ErrorSerializer, FlowRefSerializer
from apps.engine.choices import CatchUp, FiringStatus, TriggerKind, TriggerStatus
from apps.engine.models import Firing, Trigger
from apps.engine.services.triggers.cron import PREVIEW_MOST, explain_cron
from apps.engine.services.triggers.polls import BATCH_MOST, EVERY_LEAST_S, EVERY_MOST_S, PollSettings


def describe_trigger(row: Trigger) -> str:
    """The schedule or the types as a sentence."""
    if row.kind == TriggerKind.SCHEDULE:
        return explain_cron(row.cron)
    if row.kind == TriggerKind.POLL:
        settings = PollSettings.from_json(row.poll)
        when = f"Every {row.every_s} seconds" if row.every_s else explain_cron(row.cron)
        return f"{when}: new rows of {settings.entity or 'a query'} in {settings.connection}"
    return f"On {', '.join(row.types)}"


class PollSerializer(serializers.Serializer[Any]):
    """What a poll reads, and what becomes of new rows."""

    connection = serializers.CharField(
        max_length=63, required=False, allow_blank=True, help_text="Slot that the environment binds."
    )
    entity = serializers.CharField(max_length=400, required=False, allow_blank=True)
    query = serializers.CharField(
        max_length=10_000,
        required=False,
        allow_blank=True,
        help_text="In place of an entity; its parameter `position` is the highest value so far.",
    )
    cursor = serializers.CharField(
        max_length=200, required=False, allow_blank=True, help_text="Column that rises with every new row."
    )
    start = serializers.CharField(
        max_length=100, required=False, allow_blank=True, help_text="Rows from this value on; empty: from now on."
    )
    batch_rows = serializers.IntegerField(required=False, help_text=f"Rows of one firing, 1 to {BATCH_MOST}.")
    event_type = serializers.CharField(
        max_length=150, required=False, allow_blank=True, help_text="Publish each row as an event; empty: start runs."
    )


class PollStateSerializer(serializers.Serializer[Any]):
    """How far a poll has come."""

    polled_at = serializers.DateTimeField(allow_null=True)
    position = serializers.CharField(allow_null=True)
    failures = serializers.IntegerField()


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
    poll = serializers.SerializerMethodField()
    poll_state = serializers.SerializerMethodField()
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
            "every_s",
            "poll",
            "poll_state",
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

    @extend_schema_field(PollSerializer(allow_null=True))
    def get_poll(self, row: Trigger) -> dict[str, Any] | None:
        """What a poll reads; null for another kind."""
        return asdict(PollSettings.from_json(row.poll)) if row.kind == TriggerKind.POLL else None

    @extend_schema_field(PollStateSerializer(allow_null=True))
    def get_poll_state(self, row: Trigger) -> dict[str, Any] | None:
        """How far it has come; null for another kind."""
        if row.kind != TriggerKind.POLL:
            return None
        state = row.poll_state
        polled_at = None if state.polled_at is None else state.polled_at.isoformat()
        return {
            "polled_at": polled_at,
            "position": (state.position or {}).get("value"),
            "failures": state.failures,
        }

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
    cron = serializers.CharField(
        max_length=100, required=False, allow_blank=True, help_text="Minute, hour, day, month, day of the week."
    )
    zone = serializers.CharField(
        max_length=64, required=False, allow_blank=True, help_text="IANA name, such as Europe/Zurich."
    )
    calendar = serializers.CharField(max_length=63, required=False, allow_blank=True)
    catch_up = serializers.ChoiceField(choices=CatchUp.choices, required=False)
    catch_up_limit = serializers.IntegerField(min_value=1, max_value=100, required=False)
    every_s = serializers.IntegerField(
        required=False, allow_null=True, help_text=f"Interval of a poll, {EVERY_LEAST_S} to {EVERY_MOST_S:,} seconds."
    )
    poll = PollSerializer(required=False)
    types = serializers.ListField(child=serializers.CharField(max_length=150), required=False, max_length=50)
    filter = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    parameters = serializers.DictField(required=False)
    mapping = serializers.DictField(child=serializers.CharField(max_length=4000), required=False)


class TriggerInput(TriggerChange):
    """A new trigger. A schedule needs `cron` and `zone`, an event trigger `types`, a poll `poll` and an interval."""

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
    environment = serializers.CharField(max_length=20, required=False, allow_blank=True, default="")
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
    parameters = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    class Meta:
        model = Firing
        fields = [
            "id",
            "due_at",
            "event_id",
            "dedupe_key",
            "rows",
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

    @extend_schema_field(serializers.DictField())
    def get_parameters(self, row: Firing) -> dict[str, Any]:
        """The input that was made; rows that a poll found are with the run, for those who may see them."""
        return {name: value for name, value in row.parameters.items() if not (row.dedupe_key and name == "rows")}

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, row: Firing) -> dict[str, Any] | None:
        """Why it started nothing."""
        return row.error
