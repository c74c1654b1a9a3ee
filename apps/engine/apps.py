from django.apps import AppConfig


class EngineConfig(AppConfig):
    """Runs, steps, loads."""

    name = "apps.engine"
    label = "engine"
    verbose_name = "Engine"

    def ready(self) -> None:
        """Register step kinds, programs, permissions and facts for other apps."""
        from apps.engine import (
            registration,  # noqa: F401 - registers on import
            tasks,  # noqa: F401 - the web process rings by task name, and no worker loads them there
        )
