"""Words of the integrations app."""

from django.db.models import TextChoices


class FlowKind(TextChoices):
    """What a flow does."""

    LOAD = "load", "Load"
    PROCESS = "process", "Process"


class LoadMode(TextChoices):
    """How much of the source a run reads."""

    FULL = "full", "Everything"
    INCREMENTAL = "incremental", "What changed since the last run"
    PARTITIONED = "partitioned", "Everything, in parallel parts"


class Disposition(TextChoices):
    """How rows enter the target."""

    APPEND = "append", "Add rows"
    UPSERT = "upsert", "Insert or update by key"
    REPLACE = "replace", "Replace the whole entity"
    SCD2 = "scd2", "Keep every version of a row"


class Severity(TextChoices):
    """What a broken validation does to its row."""

    QUARANTINE = "quarantine", "Reject the row into quarantine"
    WARNING = "warning", "Load the row and count the finding"


class DeploymentStatus(TextChoices):
    """State of a deployment; at most one is active per flow and environment."""

    ACTIVE = "active", "Active"
    RETIRED = "retired", "Retired"


KEYED_DISPOSITIONS = (Disposition.UPSERT, Disposition.SCD2)
