"""Start-up of the vault."""

from django.apps import AppConfig


class VaultConfig(AppConfig):
    """Secrets of a tenant, encrypted under its own keys."""

    name = "apps.vault"
    label = "vault"
    verbose_name = "Vault"

    def ready(self) -> None:
        """Register the permission codes."""
        from apps.vault import registration  # noqa: F401 - registers on import
