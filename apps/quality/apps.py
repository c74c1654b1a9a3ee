"""Start-up of the quality app."""

from django.apps import AppConfig


class QualityConfig(AppConfig):
    """Quarantine, reconciliation, data contracts and lineage."""

    name = "apps.quality"
    label = "quality"
    verbose_name = "Data quality"

    def ready(self) -> None:
        """Register permissions, event types and live kinds."""
        from apps.quality import registration  # noqa: F401 - registers on import
