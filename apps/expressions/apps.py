"""The app's entry."""

from __future__ import annotations

from django.apps import AppConfig


class ExpressionsConfig(AppConfig):
    """Registers what people need to be allowed."""

    name = "apps.expressions"
    label = "expressions"
    verbose_name = "Expressions"

    def ready(self) -> None:
        """Register the permission code."""
        from apps.access.registries import register_permissions

        register_permissions([("expression:use", "Check and try out expressions")])
