"""States of a tenant and of its provisioning."""

from django.db.models import TextChoices


class TenantStatus(TextChoices):
    """Whether the tenant's hosts are served."""

    PROVISIONING = "provisioning", "Provisioning"
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"


class ProvisioningStatus(TextChoices):
    """How far the making of a tenant has come."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    FAILED = "failed", "Failed"
    DONE = "done", "Done"
