"""Tables of the durable core. What may change a row, and under which lock, stands in the app's README."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from apps.engine.choices import (
    ACTIVE_RUN_STATUSES,
    CatchUp,
    EffectOutcome,
    FiringStatus,
    LogLevel,
    RunKind,
    RunMode,
    RunStatus,
    RunTrigger,
    StepStatus,
    TaskStatus,
    TriggerKind,
    TriggerStatus,
)
from apps.tenancy.models import TenantManager, TenantModel

# What `advance` writes; everything else of a run or step is fixed when the row is made, or is written by its worker.
MOVING_FIELDS = (
    "status",
    "rows_read",
    "rows_accepted",
    "rows_quarantined",
    "rows_filtered",
    "rows_written",
    "bytes",
    "rows_per_s",
    "estimate_rows",
    "write_result",
    "error",
    "log_seq",
    "wake_at",
    "queue_reason",
    "started_at",
    "ended_at",
    "resumed",
    "result",
    "compensation",
    "sla_due_at",
    "sla_missed_at",
    "cleaned_at",
    "updated_at",
)
STEP_FIELDS = (
    "status",
    "position",
    "latest",
    "output",
    "error",
    "stats",
    "detail",
    "wait",
    "signal",
    "deliveries",
    "lease_epoch",
    "lease_owner",
    "lease_expires_at",
    "due_at",
    "rung_at",
    "started_at",
    "ended_at",
    "updated_at",
)


class Run(TenantModel):
    """One execution of a flow version in an environment, pinned to the definition it was started with.

    Attributes:
        db_now: the database's time; only on a run that `lock_run` gave.
    """

    db_now: datetime

    flow = models.ForeignKey("integrations.Flow", on_delete=models.PROTECT, related_name="+")
    flow_version = models.ForeignKey(
        "integrations.FlowVersion", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    environment = models.ForeignKey("integrations.Environment", on_delete=models.PROTECT, related_name="+")
    flow_name = models.CharField(max_length=200)
    version_number = models.PositiveIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=16, choices=RunKind.choices, default=RunKind.LOAD)
    mode = models.CharField(max_length=16, choices=RunMode.choices, default=RunMode.FULL)
    trigger = models.CharField(max_length=16, choices=RunTrigger.choices, default=RunTrigger.MANUAL)
    status = models.CharField(max_length=16, choices=RunStatus.choices, default=RunStatus.QUEUED)

    definition = models.JSONField()
    definition_hash = models.CharField(max_length=64)
    parameters = models.JSONField(default=dict, blank=True)
    since = models.CharField(max_length=64, blank=True, default="")
    # NULL, not empty: any number of runs has no key, but a key belongs to one.
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001
    request_hash = models.CharField(max_length=64, blank=True, default="")
    exclusive = models.BooleanField(default=True, help_text="No second active run of this flow and environment.")
    concurrency = models.PositiveIntegerField(null=True, blank=True, help_text="Runs of this flow working at once.")
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    parent_step = models.UUIDField(null=True, blank=True, help_text="Step attempt of the parent that started it.")
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    restarted_from = models.ForeignKey("self", on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    restarted_path = models.CharField(max_length=1400, blank=True, default="")
    origin = models.UUIDField(null=True, blank=True, help_text="First of the runs that restarts made; NULL = itself.")
    again = models.JSONField(default=list, blank=True, help_text="Paths whose effects are wanted once more.")
    resumed = models.PositiveIntegerField(default=0)

    requested_by_kind = models.CharField(max_length=16, default="system")
    requested_by_id = models.UUIDField(null=True, blank=True)
    requested_by_name = models.CharField(max_length=200, blank=True, default="")

    rows_read = models.BigIntegerField(default=0)
    rows_accepted = models.BigIntegerField(default=0)
    rows_quarantined = models.BigIntegerField(default=0)
    rows_filtered = models.BigIntegerField(default=0)
    rows_written = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    rows_per_s = models.FloatField(default=0)
    estimate_rows = models.BigIntegerField(null=True, blank=True)
    write_result = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True, help_text="What a process returned.")
    compensation = models.JSONField(null=True, blank=True, help_text="How far the undoing of a run is; NULL = none.")

    log_seq = models.BigIntegerField(default=0)
    wake_at = models.DateTimeField(null=True, blank=True, help_text="When the sweeper rings, by the database's clock.")
    queue_reason = models.CharField(max_length=200, blank=True, default="")
    cleaned_at = models.DateTimeField(null=True, blank=True, help_text="When what it held outside was released.")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    sla_due_at = models.DateTimeField(null=True, blank=True, help_text="When it must be finished.")
    sla_missed_at = models.DateTimeField(null=True, blank=True, help_text="When it was seen to be late.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["flow", "environment"],
                condition=models.Q(status__in=list(ACTIVE_RUN_STATUSES), exclusive=True),
                name="engine_one_active_run",
            ),
            models.UniqueConstraint(fields=["idempotency_key"], name="engine_run_idempotency_key"),
            models.CheckConstraint(condition=models.Q(status__in=RunStatus.values), name="engine_run_status_known"),
        ]
        indexes = [
            models.Index(fields=["flow", "-id"], name="engine_run_flow"),
            models.Index(fields=["status", "-id"], name="engine_run_status"),
            models.Index(
                fields=["wake_at"], condition=models.Q(status__in=list(ACTIVE_RUN_STATUSES)), name="engine_run_wake"
            ),
            models.Index(
                fields=["sla_due_at"],
                condition=models.Q(status__in=list(ACTIVE_RUN_STATUSES), sla_missed_at__isnull=True),
                name="engine_run_sla",
            ),
            models.Index(fields=["-id"], condition=models.Q(sla_missed_at__isnull=False), name="engine_run_sla_missed"),
            models.Index(
                fields=["parent_step"], condition=models.Q(parent_step__isnull=False), name="engine_run_parent_step"
            ),
            models.Index(fields=["origin"], condition=models.Q(origin__isnull=False), name="engine_run_origin"),
        ]

    def __str__(self) -> str:
        return f"{self.flow_name} {self.id} {self.status}"


class StepResult(TenantModel):
    """One attempt at one step of a run. The unique key does the work: a step has one recorded outcome an attempt."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    path = models.CharField(max_length=1400)
    attempt = models.PositiveIntegerField(default=1)
    latest = models.BooleanField(default=True)
    position = models.PositiveIntegerField(default=0)
    kind = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    definition_hash = models.CharField(max_length=64)
    config = models.JSONField(default=dict)
    connections = ArrayField(models.UUIDField(), default=list, blank=True)
    status = models.CharField(max_length=16, choices=StepStatus.choices, default=StepStatus.WAITING)

    output = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    stats = models.JSONField(default=dict)
    detail = models.CharField(max_length=300, blank=True, default="")
    timeout_s = models.FloatField(null=True, blank=True)
    wait = models.JSONField(null=True, blank=True, help_text="What a parked step waits for.")
    signal = models.JSONField(null=True, blank=True, help_text="What arrived for a parked step.")
    inherited = models.BooleanField(default=False, help_text="Kept from the run that was restarted; not executed here.")

    deliveries = models.PositiveIntegerField(default=0)
    lease_epoch = models.BigIntegerField(default=0, help_text="Fencing number: rises with every claim.")
    lease_owner = models.CharField(max_length=120, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(db_default=Now(), help_text="Not to be claimed before (retry delay, timer).")
    rung_at = models.DateTimeField(null=True, blank=True, help_text="When a worker was last called for it.")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "path", "attempt"], name="engine_step_attempt"),
            models.UniqueConstraint(fields=["run", "path"], condition=models.Q(latest=True), name="engine_step_latest"),
        ]
        indexes = [
            models.Index(
                fields=["lease_expires_at"], condition=models.Q(status=StepStatus.RUNNING), name="engine_step_leases"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.path}#{self.attempt} {self.status}"


class Effect(TenantModel):
    """What an attempt at a step has done, or may have done, to another system. Written before it is sent."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    origin = models.UUIDField(help_text="As of the run, and never NULL: effects of restarts are found by it.")
    step_id = models.UUIDField(help_text="The step attempt.")
    path = models.CharField(max_length=1400)
    attempt = models.PositiveIntegerField(default=1)
    connection = models.UUIDField(null=True, blank=True)
    operation = models.CharField(max_length=32)
    target = models.CharField(max_length=400, blank=True, default="")
    business_key = models.CharField(max_length=500, blank=True, default="")
    idempotency_key = models.UUIDField()
    payload_hash = models.CharField(max_length=64, help_text="SHA-256 of the canonical JSON of what was sent.")
    summary = models.JSONField(default=dict, help_text="Counts and names, never values.")
    repeatable = models.BooleanField(default=True, help_text="Sent again under its key it happens once all the same.")
    outcome = models.CharField(max_length=16, choices=EffectOutcome.choices, default=EffectOutcome.SENT)
    result = models.JSONField(null=True, blank=True, help_text="What the step left, for a repetition.")
    external_reference = models.CharField(max_length=500, blank=True, default="")
    repeats = models.ForeignKey(
        "self", on_delete=models.SET_NULL, related_name="+", null=True, blank=True, help_text="Its earlier self."
    )
    sent_at = models.DateTimeField(null=True, blank=True, help_text="NULL: an earlier run had sent it.")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True, help_text="When a compensation took it back.")
    decision = models.JSONField(null=True, blank=True, help_text="{decision, by, at, note} of a person.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "path", "attempt"], name="engine_effect_attempt"),
            models.CheckConstraint(
                condition=models.Q(outcome__in=EffectOutcome.values), name="engine_effect_outcome_known"
            ),
        ]
        indexes = [
            models.Index(fields=["origin", "path"], name="engine_effect_origin"),
            models.Index(fields=["idempotency_key"], name="engine_effect_key"),
        ]

    def __str__(self) -> str:
        return f"{self.path}#{self.attempt} {self.operation} {self.outcome}"


class RunLog(models.Model):
    """One line of a run's log. `seq` is taken under the run's lock, so a reader's cursor never skips a late line."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    seq = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())
    level = models.CharField(max_length=8, choices=LogLevel.choices, default=LogLevel.INFO)
    message = models.TextField()
    facts = models.JSONField(default=dict, blank=True)

    objects = TenantManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="engine_run_log_seq")]

    def __str__(self) -> str:
        return f"{self.seq} {self.level} {self.message}"


class LoadState(TenantModel):
    """How far a flow has loaded an entity in an environment. Written after the data, never before."""

    flow = models.ForeignKey("integrations.Flow", on_delete=models.CASCADE, related_name="+")
    environment = models.ForeignKey("integrations.Environment", on_delete=models.CASCADE, related_name="+")
    entity = models.CharField(max_length=400)
    cursor = models.JSONField(null=True, blank=True, help_text="{column, type, value}: highest value loaded.")
    position = models.JSONField(null=True, blank=True, help_text="The source's own position (snapshot, page token).")
    source_fields = models.JSONField(default=list, help_text="Columns and types seen by the last load, for drift.")
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, related_name="+", null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["flow", "environment", "entity"], name="engine_load_state_key"),
        ]

    def __str__(self) -> str:
        return f"{self.entity} {self.cursor}"


class StepCache(TenantModel):
    """The output of a step, for reuse by later runs of the same flow and environment under the same key."""

    flow = models.ForeignKey("integrations.Flow", on_delete=models.CASCADE, related_name="+")
    environment = models.ForeignKey("integrations.Environment", on_delete=models.CASCADE, related_name="+")
    step_hash = models.CharField(max_length=64, help_text="Identity of the step's behaviour.")
    key_hash = models.CharField(max_length=64)
    output = models.JSONField()
    expires_at = models.DateTimeField(help_text="By the database's clock.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["flow", "environment", "step_hash", "key_hash"], name="engine_step_cache_key"
            ),
        ]
        indexes = [models.Index(fields=["expires_at"], name="engine_step_cache_expiry")]

    def __str__(self) -> str:
        return f"{self.step_hash[:8]} {self.key_hash[:8]}"


class Waiter(TenantModel):
    """A parked step that waits for an event. Made and removed with the step's own transitions."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    step_id = models.UUIDField(unique=True, help_text="The step attempt; its row is written in the same transaction.")
    event = models.CharField(max_length=150)
    # NULL, not empty: an empty text is a correlation, and NULL means any.
    correlation = models.CharField(max_length=1000, null=True, blank=True)  # noqa: DJ001

    class Meta:
        indexes = [models.Index(fields=["event", "correlation"], name="engine_waiter_event")]

    def __str__(self) -> str:
        return f"{self.event} {self.correlation}"


class HumanTask(TenantModel):
    """A parked step that waits for people. Made, answered and ended under its run's lock."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    step_id = models.UUIDField(unique=True, help_text="The step attempt; its row is written in the same transaction.")
    path = models.CharField(max_length=1400)
    title = models.CharField(max_length=200)
    description = models.CharField(max_length=4000, blank=True, default="")
    shown = models.JSONField(default=dict, help_text="Values that people see beside the form.")
    form = models.JSONField(help_text="JSON Schema of the answer.")
    people = ArrayField(models.UUIDField(), default=list, blank=True, help_text="Candidates by name.")
    role = models.CharField(max_length=50, blank=True, default="", help_text="Candidates by role, as it is held now.")
    away = ArrayField(models.UUIDField(), default=list, blank=True, help_text="Who let somebody else answer.")
    barred = ArrayField(models.UUIDField(), default=list, blank=True, help_text="Who started the run.")
    required = models.PositiveIntegerField(default=1, help_text="Answers that complete the task.")
    delegation = models.BooleanField(default=True)
    status = models.CharField(max_length=16, choices=TaskStatus.choices, default=TaskStatus.OPEN)
    claimed_by = models.ForeignKey("access.User", on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True, help_text="Deadline, by the database's clock.")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=TaskStatus.values), name="engine_task_status_known"),
        ]
        indexes = [
            models.Index(fields=["status", "-id"], name="engine_task_status"),
            models.Index(fields=["run", "-id"], name="engine_task_run"),
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.status}"


class TaskAnswer(TenantModel):
    """One person's answer to a task; each gives one at most."""

    task = models.ForeignKey(HumanTask, on_delete=models.CASCADE, related_name="answers")
    person = models.ForeignKey("access.User", on_delete=models.PROTECT, related_name="+")
    person_name = models.CharField(max_length=254)
    values = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "person"], name="engine_task_one_answer")]

    def __str__(self) -> str:
        return f"{self.task_id} {self.person_name}"


class Sla(TenantModel):
    """When runs of a flow must be finished in an environment: within a duration, by a local time, or both."""

    flow = models.ForeignKey("integrations.Flow", on_delete=models.CASCADE, related_name="+")
    environment = models.ForeignKey("integrations.Environment", on_delete=models.CASCADE, related_name="+")
    within_s = models.PositiveIntegerField(null=True, blank=True)
    by = models.TimeField(null=True, blank=True, help_text="By the clock of the zone.")
    zone = models.CharField(max_length=64, blank=True, default="")
    days = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True, help_text="1 = Monday.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["flow", "environment"], name="engine_sla_once"),
            models.CheckConstraint(
                condition=models.Q(within_s__isnull=False) | models.Q(by__isnull=False), name="engine_sla_not_empty"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.flow_id} {self.environment_id}"


class Trigger(TenantModel):
    """What starts runs of a flow in an environment by itself: a schedule, a kind of event, or new rows of a system."""

    flow = models.ForeignKey("integrations.Flow", on_delete=models.PROTECT, related_name="+")
    environment = models.ForeignKey("integrations.Environment", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=16, choices=TriggerKind.choices)
    status = models.CharField(max_length=16, choices=TriggerStatus.choices, default=TriggerStatus.ACTIVE)
    status_reason = models.CharField(max_length=200, blank=True, default="")

    cron = models.CharField(max_length=100, blank=True, default="", help_text="Five fields, as in Debian's cron.")
    zone = models.CharField(max_length=64, blank=True, default="", help_text="IANA time zone of the cron expression.")
    calendar = models.CharField(max_length=63, blank=True, default="", help_text="Fires on its working days only.")
    catch_up = models.CharField(max_length=8, choices=CatchUp.choices, default=CatchUp.ONCE)
    catch_up_limit = models.PositiveSmallIntegerField(default=10)
    next_due_at = models.DateTimeField(null=True, blank=True, help_text="By the database's clock.")

    every_s = models.PositiveIntegerField(null=True, blank=True, help_text="Interval of a poll without cron.")
    poll = models.JSONField(default=dict, blank=True, help_text="What a poll reads, and what becomes of new rows.")

    types = ArrayField(models.CharField(max_length=150), default=list, blank=True)
    filter = models.TextField(blank=True, default="")
    start_position = models.BigIntegerField(default=0, help_text="Events up to this number do not count.")

    parameters = models.JSONField(default=dict, blank=True, help_text="Input of the run.")
    mapping = models.JSONField(default=dict, blank=True, help_text="{input name: expression}; wins over parameters.")

    last_fired_at = models.DateTimeField(null=True, blank=True)
    last_run = models.ForeignKey(Run, on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    last_error = models.JSONField(null=True, blank=True)
    created_by_name = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["flow", "environment", "name"], name="engine_trigger_name"),
        ]
        indexes = [
            models.Index(
                fields=["next_due_at"], condition=models.Q(status=TriggerStatus.ACTIVE), name="engine_trigger_due"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PollState(TenantModel):
    """How far a poll has come, and who looks now. Written with the firings that follow from a look."""

    trigger = models.OneToOneField(Trigger, on_delete=models.CASCADE, related_name="poll_state")
    position = models.JSONField(null=True, blank=True, help_text="NULL before the first look.")
    failures = models.PositiveIntegerField(default=0, help_text="Looks in a row that failed.")
    lease_epoch = models.BigIntegerField(default=0, help_text="Fencing number: rises with every claim.")
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    rung_at = models.DateTimeField(null=True, blank=True, help_text="When a worker was last called for it.")
    polled_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.trigger_id} {self.lease_epoch}"


class Firing(TenantModel):
    """A moment, event or batch of rows at which a trigger fired; the unique keys make it one."""

    trigger = models.ForeignKey(Trigger, on_delete=models.CASCADE, related_name="+")
    due_at = models.DateTimeField(help_text="The moment of a schedule or a poll, or the time of the event.")
    event_id = models.UUIDField(null=True, blank=True)
    dedupe_key = models.CharField(max_length=60, blank=True, default="", help_text="Look and batch of a poll.")
    rows = models.PositiveIntegerField(default=0, help_text="New rows that a poll handed out.")
    status = models.CharField(max_length=16, choices=FiringStatus.choices, default=FiringStatus.PENDING)
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, related_name="+", null=True, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    missed = models.PositiveIntegerField(default=0, help_text="How many missed moments this row stands for.")
    error = models.JSONField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True, help_text="By the database's clock, while pending.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["trigger", "due_at"],
                condition=models.Q(event_id__isnull=True, dedupe_key=""),
                name="engine_firing_due",
            ),
            models.UniqueConstraint(
                fields=["trigger", "dedupe_key"], condition=~models.Q(dedupe_key=""), name="engine_firing_batch"
            ),
            models.UniqueConstraint(fields=["trigger", "event_id"], name="engine_firing_event"),
        ]
        indexes = [
            models.Index(fields=["trigger", "-id"], name="engine_firing_trigger"),
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(status=FiringStatus.PENDING),
                name="engine_firing_pending",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.trigger_id} {self.due_at} {self.status}"
