"""What access tells the registries at start-up."""

from __future__ import annotations

import hashlib

from apps.access.choices import BuiltinRole
from apps.access.registries import builtin_role_permissions, register_permissions
from apps.access.services import openapi, sign_ins  # noqa: F401 - extensions and receivers are found by import
from apps.access.services.members import provision_owner
from apps.access.services.roles import provision_builtin_roles
from apps.tenancy.registries import ProvisioningStep, plan_parts, provisioning_steps

register_permissions(
    [
        ("tenant:manage", "Change the organisation's settings"),
        ("member:view", "See members and their roles"),
        ("member:manage", "Invite, change and remove members"),
        ("role:manage", "Create and change roles"),
        ("apikey:manage", "Create and revoke API keys"),
        ("audit:view", "See the audit trail"),
    ]
)


def _permission_fingerprint() -> str:
    lines = [f"{role}:{','.join(sorted(builtin_role_permissions(role)))}" for role in BuiltinRole.values]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


plan_parts.append(_permission_fingerprint)
provisioning_steps.register(
    ProvisioningStep("access.roles", 10, "Create built-in roles", provision_builtin_roles, after_migrations=True)
)
provisioning_steps.register(ProvisioningStep("access.owner", 900, "Invite the administrator", provision_owner))
