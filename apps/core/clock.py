"""The one place that reads the time of day."""

from datetime import UTC, datetime


def now() -> datetime:
    """Current time, aware, in UTC."""
    return datetime.now(UTC)
