"""Start-up of the access app."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    """Users, roles, invitations, sessions and API keys of a tenant, or of the platform in the public schema."""

    name = "apps.access"
    label = "access"
    verbose_name = "Access"

    def ready(self) -> None:
        """Register the permission codes and what a new tenant needs of this app."""
        from apps.access import registration  # noqa: F401 - registers on import
