"""Start-up of the integrations app."""

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """Flows, versions, mappings, environments and deployments."""

    name = "apps.integrations"
    label = "integrations"
    verbose_name = "Integrations"

    def ready(self) -> None:
        """Register permissions, events, checks and the provisioning step."""
        from apps.integrations import registration  # noqa: F401 - registers on import
