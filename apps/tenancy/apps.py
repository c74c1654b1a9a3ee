"""Start-up of the tenancy app."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """Tenants, their domains, and the explicit tenant context of every query."""

    name = "apps.tenancy"
    label = "tenancy"
    verbose_name = "Tenants"

    def ready(self) -> None:
        """Keep Django's process-wide content-type cache apart per schema."""
        from django.contrib.contenttypes.models import ContentType

        from apps.tenancy.backend.content_types import SchemaKeyedCache

        # Django copies a model's managers from the declared ones whenever its caches expire; the copies share this.
        cache = SchemaKeyedCache()
        for manager in (*ContentType._meta.local_managers, ContentType.objects):
            manager._cache = cache  # type: ignore[attr-defined]
