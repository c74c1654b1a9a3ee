"""Words of the quality app."""

from django.db.models import TextChoices


class QuarantineStatus(TextChoices):
    """State of one rejected row; `open` and `corrected` wait for somebody."""

    OPEN = "open", "Open"
    CORRECTED = "corrected", "Corrected"
    REPLAYED = "replayed", "Replayed"
    DISCARDED = "discarded", "Discarded"


class ReconciliationStatus(TextChoices):
    """Verdict on one load; `signed` is a person's decision on top of any verdict."""

    GREEN = "green", "Green"
    AMBER = "amber", "Amber"
    RED = "red", "Red"
    SIGNED = "signed", "Signed"


class ContractMode(TextChoices):
    """What to do about a difference between the data contract and the source."""

    EVOLVE = "evolve", "Accept it, and take it into the contract when publishing"
    FREEZE = "freeze", "Stop before anything is read"
    QUARANTINE = "quarantine", "Put the affected rows into quarantine"
    IGNORE = "ignore", "Accept it this time"
    NULL = "null", "Read the missing column as NULL"


class SchemaChange(TextChoices):
    """Kind of difference between the data contract and the source."""

    NEW_COLUMN = "new_column", "New column"
    MISSING_COLUMN = "missing_column", "Missing column"
    TYPE_CHANGE = "type_change", "Changed type"


class DriftAction(TextChoices):
    """What the engine does about one difference."""

    ACCEPT = "accept", "Read the column as it is now"
    SKIP = "skip", "Do not read the column"
    FILL_NULL = "fill_null", "Read the column as NULL of the contract's type"
    CAST = "cast", "Convert to the contract's type; rows that do not convert go to quarantine"
    QUARANTINE_ROWS = "quarantine_rows", "Every row with a value in the column goes to quarantine"
    QUARANTINE_ALL = "quarantine_all", "Every row goes to quarantine"
    STOP = "stop", "Do not start"
