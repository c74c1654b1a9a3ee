"""Start-up of the event bus."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class EventsConfig(AppConfig):
    """Event log, relay and live hints."""

    name = "apps.events"
    label = "events"
    verbose_name = "Events"

    def ready(self) -> None:
        """Discover every app's event types (`events.py`) and subscribers (`receivers.py`)."""
        from apps.events import registration  # noqa: F401 - registers on import

        autodiscover_modules("events", "receivers")
