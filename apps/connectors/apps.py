"""Start-up of the connectors app."""

from django.apps import AppConfig


class ConnectorsConfig(AppConfig):
    """Connector framework, connections and the catalog of connectors."""

    name = "apps.connectors"
    label = "connectors"
    verbose_name = "Connectors"

    def ready(self) -> None:
        """Register the installed connectors, permissions, events and the provisioning step."""
        from apps.connectors import registration  # noqa: F401 - registers on import
