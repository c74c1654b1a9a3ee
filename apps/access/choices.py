"""Small vocabularies of access."""

from django.db.models import TextChoices


class Theme(TextChoices):
    """Look of the pages."""

    SYSTEM = "system", "As the device"
    LIGHT = "light", "Light"
    DARK = "dark", "Dark"


class BuiltinRole(TextChoices):
    """Roles that every tenant has."""

    VIEWER = "viewer", "Viewer"
    BUILDER = "builder", "Builder"
    OPERATOR = "operator", "Operator"
    APPROVER = "approver", "Approver"
    ADMIN = "admin", "Administrator"
