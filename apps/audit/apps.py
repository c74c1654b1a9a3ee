"""Start-up of the audit log."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Tamper-evident log of what was done in a tenant."""

    name = "apps.audit"
    label = "audit"
    verbose_name = "Audit log"

    def ready(self) -> None:
        """Become the sink of every app's audit entries."""
        from apps.audit import registration  # noqa: F401 - registers on import
