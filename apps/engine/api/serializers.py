"""JSON shapes of runs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.clock import now
from apps.engine.choices import (
    ENDED_STEP_STATUSES,
    CompensationStatus,
    LogLevel,
    RunKind,
    RunMode,
    RunStatus,
    RunTrigger,
    StepStatus,
)
from apps.engine.contracts import StepStats
from apps.engine.models import Run, RunLog, StepResult
from apps.engine.selectors import share_of


class FlowRefSerializer(serializers.Serializer[Any]):
    """A flow by id and name."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class ProgressSerializer(serializers.Serializer[Any]):
    """How far a run is. `share` is 0 to 1, null when the size is unknown."""

    rows_read = serializers.IntegerField()
    rows_accepted = serializers.IntegerField()
    rows_quarantined = serializers.IntegerField()
    rows_filtered = serializers.IntegerField()
    rows_written = serializers.IntegerField()
    bytes = serializers.IntegerField()
    rows_per_s = serializers.FloatField()
    estimate_rows = serializers.IntegerField(allow_null=True)
    share = serializers.FloatField(allow_null=True)


class StageSerializer(serializers.Serializer[Any]):
    """One step of a run, as its latest attempt stands."""

    id = serializers.UUIDField(help_text="Of the step, whose data is at `/runs/{run_id}/steps/{id}`.")
    path = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.CharField()
    status = serializers.ChoiceField(choices=StepStatus.choices)
    attempt = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    rows = serializers.IntegerField()
    bytes = serializers.IntegerField()
    rows_per_s = serializers.FloatField()
    detail = serializers.CharField(allow_blank=True)
    inherited = serializers.BooleanField(help_text="Kept from the run that was restarted; not executed here.")


class ErrorSerializer(serializers.Serializer[Any]):
    """Why a run or step failed."""

    code = serializers.CharField()
    message = serializers.CharField()
    remedy = serializers.CharField(allow_null=True)
    field = serializers.CharField(required=False)
    step = serializers.CharField(required=False)
    problems = serializers.ListField(child=serializers.DictField(), required=False)


class WriteResultSerializer(serializers.Serializer[Any]):
    """What reached the target."""

    inserted = serializers.IntegerField()
    updated = serializers.IntegerField()
    deleted = serializers.IntegerField()
    unchanged = serializers.IntegerField()


class CompensationSerializer(serializers.Serializer[Any]):
    """How far the undoing of a run's completed steps is; `remaining` are not undone, in the order of undoing."""

    status = serializers.ChoiceField(choices=CompensationStatus.choices)
    cause = serializers.ChoiceField(choices=RunStatus.choices)
    steps = serializers.ListField(child=serializers.CharField())
    remaining = serializers.ListField(child=serializers.CharField())
    error = ErrorSerializer()
    problem = ErrorSerializer(required=False)


class RequesterSerializer(serializers.Serializer[Any]):
    """Who asked for the run."""

    kind = serializers.CharField()
    id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()


class RunListSerializer(serializers.ModelSerializer[Run]):
    """A run in a list."""

    flow = serializers.SerializerMethodField()
    version = serializers.SerializerMethodField()
    environment = serializers.CharField(source="environment.slug", read_only=True)
    kind = serializers.ChoiceField(choices=RunKind.choices, read_only=True)
    mode = serializers.ChoiceField(choices=RunMode.choices, read_only=True)
    trigger = serializers.ChoiceField(choices=RunTrigger.choices, read_only=True)
    status = serializers.ChoiceField(choices=RunStatus.choices, read_only=True)
    progress = serializers.SerializerMethodField()
    write = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    requested_by = serializers.SerializerMethodField()
    duration_ms = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = [
            "id",
            "flow",
            "version",
            "environment",
            "kind",
            "mode",
            "trigger",
            "status",
            "progress",
            "write",
            "error",
            "requested_by",
            "retry_of",
            "restarted_from",
            "resumed",
            "queue_reason",
            "created_at",
            "started_at",
            "ended_at",
            "duration_ms",
            "sla_due_at",
            "sla_missed_at",
        ]
        read_only_fields = fields

    @extend_schema_field(FlowRefSerializer)
    def get_flow(self, run: Run) -> dict[str, Any]:
        """The flow that runs."""
        return {"id": run.flow_id, "name": run.flow_name}

    def get_version(self, run: Run) -> str:
        """Number of the version, or `draft`."""
        return "draft" if run.version_number is None else str(run.version_number)

    @extend_schema_field(ProgressSerializer)
    def get_progress(self, run: Run) -> dict[str, Any]:
        """Counters and the share done."""
        return {
            "rows_read": run.rows_read,
            "rows_accepted": run.rows_accepted,
            "rows_quarantined": run.rows_quarantined,
            "rows_filtered": run.rows_filtered,
            "rows_written": run.rows_written,
            "bytes": run.bytes,
            "rows_per_s": round(run.rows_per_s, 1),
            "estimate_rows": run.estimate_rows,
            "share": share_of(run),
        }

    @extend_schema_field(WriteResultSerializer(allow_null=True))
    def get_write(self, run: Run) -> dict[str, Any] | None:
        """What the target did with the rows."""
        if not run.write_result:
            return None
        return {name: run.write_result.get(name, 0) for name in ("inserted", "updated", "deleted", "unchanged")}

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, run: Run) -> dict[str, Any] | None:
        """Why it failed."""
        return run.error

    @extend_schema_field(RequesterSerializer)
    def get_requested_by(self, run: Run) -> dict[str, Any]:
        """Who asked for it."""
        return {"kind": run.requested_by_kind, "id": run.requested_by_id, "name": run.requested_by_name}

    def get_duration_ms(self, run: Run) -> int | None:
        """From start to end, or to now while it runs."""
        if run.started_at is None:
            return None
        return round(((run.ended_at or now()) - run.started_at).total_seconds() * 1000)


class RunSerializer(RunListSerializer):
    """A run with its stages and its reconciliation."""

    stages = serializers.SerializerMethodField()
    reconciliation = serializers.SerializerMethodField()
    compensation = serializers.SerializerMethodField()
    parameters = serializers.SerializerMethodField()

    class Meta(RunListSerializer.Meta):
        fields = [
            *RunListSerializer.Meta.fields,
            "stages",
            "reconciliation",
            "compensation",
            "parameters",
            "since",
            "result",
            "parent",
            "restarted_path",
        ]
        read_only_fields = fields

    @extend_schema_field(StageSerializer(many=True))
    def get_stages(self, run: Run) -> list[dict[str, Any]]:
        """Steps in order of display."""
        return [stage_to_json(step) for step in self.context["stages"]]

    @extend_schema_field(serializers.DictField(allow_null=True))
    def get_reconciliation(self, run: Run) -> dict[str, Any] | None:
        """Both sides compared, once that was done."""
        return self.context["reconciliation"]

    @extend_schema_field(serializers.DictField())
    def get_parameters(self, run: Run) -> dict[str, Any]:
        """What it was started with; the rows that a poll found only for those who may use connections."""
        found = run.trigger in (RunTrigger.POLL, RunTrigger.RETRY) and not self.context["may_see_rows"]
        return {name: value for name, value in run.parameters.items() if not (found and name == "rows")}

    @extend_schema_field(CompensationSerializer(allow_null=True))
    def get_compensation(self, run: Run) -> dict[str, Any] | None:
        """What was undone, and what was not."""
        return run.compensation


class StepAttemptSerializer(serializers.ModelSerializer[StepResult]):
    """One attempt at one step, with its error and counters."""

    error = serializers.SerializerMethodField()
    stats = serializers.DictField(read_only=True)

    class Meta:
        model = StepResult
        fields = [
            "id",
            "path",
            "attempt",
            "name",
            "kind",
            "status",
            "detail",
            "deliveries",
            "lease_owner",
            "definition_hash",
            "error",
            "stats",
            "started_at",
            "ended_at",
        ]
        read_only_fields = fields

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, step: StepResult) -> dict[str, Any] | None:
        """Why the attempt failed."""
        return step.error


class StepInputSerializer(serializers.Serializer[Any]):
    """One expression of a process step, and what it came to; secret variables are masked."""

    place = serializers.CharField()
    expression = serializers.CharField()
    value = serializers.JSONField()
    problem = serializers.CharField(allow_null=True)


class StepDetailSerializer(StepAttemptSerializer):
    """One attempt at one step with what went in, what it left and what it waits for."""

    inputs = serializers.SerializerMethodField()
    output = serializers.JSONField(read_only=True)
    wait = serializers.JSONField(read_only=True)

    class Meta(StepAttemptSerializer.Meta):
        fields = [*StepAttemptSerializer.Meta.fields, "config", "inputs", "output", "wait", "due_at", "timeout_s"]
        read_only_fields = fields

    @extend_schema_field(StepInputSerializer(many=True))
    def get_inputs(self, step: StepResult) -> list[dict[str, Any]]:
        """The step's expressions with their values."""
        return [dict(item) for item in StepInputSerializer(self.context["inputs"], many=True).data]


class RunLogSerializer(serializers.ModelSerializer[RunLog]):
    """One line of a run's log."""

    level = serializers.ChoiceField(choices=LogLevel.choices)
    facts = serializers.DictField()

    class Meta:
        model = RunLog
        fields = ["seq", "at", "level", "message", "facts"]


class RunLogPageSerializer(serializers.Serializer[Any]):
    """Lines after a cursor; ask again with `after=next_after`."""

    results = RunLogSerializer(many=True)
    next_after = serializers.IntegerField()


class StartRunSerializer(serializers.Serializer[Any]):
    """What to run."""

    environment = serializers.CharField(max_length=20, default="dev")
    version = serializers.JSONField(required=False, allow_null=True, help_text='A number, or "draft" (dev only).')
    mode = serializers.ChoiceField(choices=RunMode.choices, required=False, allow_null=True)
    since = serializers.CharField(max_length=64, required=False, allow_null=True, allow_blank=True)
    parameters = serializers.DictField(required=False)
    idempotency_key = serializers.CharField(max_length=200, required=False, allow_null=True, allow_blank=True)

    def validate_version(self, value: object) -> int | str | None:
        """A positive number, `draft`, or nothing."""
        if value is None or value == "draft":
            return value
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise serializers.ValidationError('Give the number of a published version, or "draft".')
        return value


class ReplaySerializer(serializers.Serializer[Any]):
    """Which quarantined rows to try again: by id, or all that wait of a run or flow."""

    ids = serializers.ListField(
        child=serializers.UUIDField(), required=False, allow_empty=False, min_length=1, max_length=10_000
    )
    run = serializers.UUIDField(required=False, allow_null=True)
    flow = serializers.UUIDField(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """At least one way to choose is needed."""
        if not any(attrs.get(name) for name in ("ids", "run", "flow")):
            raise serializers.ValidationError("Give `ids`, `run` or `flow`.")
        return attrs


def stage_to_json(step: StepResult) -> dict[str, Any]:
    """A step as a stage of the run page."""
    stats = StepStats.from_json(step.stats)
    rows = stats.rows_read or stats.rows_written
    seconds = 0.0
    if step.started_at is not None:
        end = step.ended_at if step.status in ENDED_STEP_STATUSES and step.ended_at else now()
        seconds = (end - step.started_at).total_seconds()
    return {
        "id": str(step.pk),
        "path": step.path,
        "name": step.name,
        "kind": step.kind,
        "status": step.status,
        "attempt": step.attempt,
        "started_at": step.started_at,
        "ended_at": step.ended_at,
        "rows": rows,
        "bytes": stats.bytes,
        "rows_per_s": round(rows / seconds, 1) if seconds > 0 and rows else 0.0,
        "detail": step.detail,
        "inherited": step.inherited,
    }
