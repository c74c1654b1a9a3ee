"""States and kinds of runs and steps. The state machines are drawn in the app's README."""

from django.db import models


class RunStatus(models.TextChoices):
    """Where a run stands."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    WAITING = "waiting", "Waiting for a time, an event, a person or another run"
    CANCELLING = "cancelling", "Cancelling"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ACTIVE_RUN_STATUSES = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.CANCELLING)
ENDED_RUN_STATUSES = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


class CompensationStatus(models.TextChoices):
    """How far a run that ends badly has undone its completed steps."""

    RUNNING = "running", "Undoing"
    DONE = "done", "Undone"
    FAILED = "failed", "Not wholly undone"


class StepStatus(models.TextChoices):
    """Where one attempt of a step stands."""

    WAITING = "waiting", "Waiting for earlier steps"
    READY = "ready", "Ready to be claimed"
    RUNNING = "running", "Running"
    PARKED = "parked", "Waiting, without a worker"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    SKIPPED = "skipped", "Skipped"


ENDED_STEP_STATUSES = (StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED)
DONE_STEP_STATUSES = (StepStatus.SUCCEEDED, StepStatus.SKIPPED)


class RunKind(models.TextChoices):
    """Which program plans the run's steps."""

    LOAD = "load", "Load"
    REPLAY = "replay", "Replay of quarantined rows"
    PROCESS = "process", "Process"


class RunMode(models.TextChoices):
    """How much of the source a load reads."""

    FULL = "full", "Full"
    INCREMENTAL = "incremental", "Incremental"
    PARTITIONED = "partitioned", "Partitioned"


class RunTrigger(models.TextChoices):
    """What asked for the run."""

    MANUAL = "manual", "Manual"
    API = "api", "API"
    RETRY = "retry", "Retry"
    REPLAY = "replay", "Replay"
    RESTART = "restart", "Restart from a step"
    SCHEDULE = "schedule", "Schedule"
    EVENT = "event", "Event"
    POLL = "poll", "Poll"
    PROCESS = "process", "Another run"


class TriggerKind(models.TextChoices):
    """What a trigger listens to."""

    SCHEDULE = "schedule", "Schedule"
    EVENT = "event", "Event"
    POLL = "poll", "Poll"


class TriggerStatus(models.TextChoices):
    """Whether a trigger fires."""

    ACTIVE = "active", "Active"
    PAUSED = "paused", "Paused"


class CatchUp(models.TextChoices):
    """What becomes of firings that were missed while nothing could fire."""

    SKIP = "skip", "Leave them out"
    ONCE = "once", "Make up for all with one run"
    ALL = "all", "Make up for each, up to a bound"


class FiringStatus(models.TextChoices):
    """What came of one firing."""

    PENDING = "pending", "Waiting until the flow can start"
    STARTED = "started", "Started a run"
    PUBLISHED = "published", "Published events"
    SKIPPED = "skipped", "Left out"
    FAILED = "failed", "Failed"


class LogLevel(models.TextChoices):
    """Weight of a log line."""

    DEBUG = "debug", "Debug"
    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"


class TaskStatus(models.TextChoices):
    """Where a task for people stands."""

    OPEN = "open", "Open"
    ANSWERED = "answered", "Answered"
    EXPIRED = "expired", "Expired"
    CANCELLED = "cancelled", "Cancelled"


class EffectOutcome(models.TextChoices):
    """What is known of one effect on another system."""

    SENT = "sent", "Sent, and nothing heard yet"
    CONFIRMED = "confirmed", "Confirmed"
    REFUSED = "refused", "Refused: it did not happen"
    UNKNOWN = "unknown", "Nobody knows whether it happened"


class EffectVerdict(models.TextChoices):
    """What becomes of a known effect when its step is done again."""

    REPEATED = "repeated", "It happens once more, under a new key"
    DEDUPLICATED = "deduplicated", "It does not happen twice"
    ASKED = "asked", "Somebody is asked whether it has happened"
    AT_RUN_TIME = "at_run_time", "Not known before the run"


class EffectDecision(models.TextChoices):
    """What a person says of an effect that nobody knows about."""

    HAPPENED = "happened", "It happened"
    SEND_AGAIN = "send_again", "It did not happen: send it again"
    FAIL = "fail", "Let the step fail"
