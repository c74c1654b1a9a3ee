"""Start-up of the messaging app."""

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    """Consumers: messages of brokers become events."""

    name = "apps.messaging"
    label = "messaging"
    verbose_name = "Messaging"

    def ready(self) -> None:
        """Register permissions, events and what browsers may watch."""
        from apps.messaging import registration  # noqa: F401 - registers on import
