"""Plug-in points of tenancy: provisioning steps, narrower table rights, and parts of the migration fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.core.registries import Registry
from apps.tenancy.contracts import ProvisioningInput


@dataclass(frozen=True)
class ProvisioningStep:
    """Something that every new tenant needs.

    Attributes:
        type: unique name, `<app>.<what>`.
        order: steps run by rising order; tenancy's own (schemas, role, tables) come before all of them.
        title: shown as progress ("Create built-in roles").
        run: called with (tenant, input) inside `tenant_context` and one transaction; must be idempotent.
        after_migrations: run again after each migration of the tenant, to refresh what code defines.
    """

    type: str
    order: int
    title: str
    run: Callable[[Any, ProvisioningInput], None]
    after_migrations: bool = False


provisioning_steps: Registry[ProvisioningStep] = Registry("provisioning step", ProvisioningStep)


def list_provisioning_steps() -> list[ProvisioningStep]:
    """Registered steps in the order in which they run."""
    return sorted(provisioning_steps.all(), key=lambda step: (step.order, step.type))


table_rights: dict[str, tuple[str, ...]] = {"django_migrations": ("SELECT",)}
"""Tables on which a tenant's role has less than SELECT, INSERT, UPDATE, DELETE (an append-only log)."""


def register_table_rights(table: str, *rights: str) -> None:
    """Narrow the rights of tenants' roles on one of their tables.

    Args:
        table: table name without schema.
        rights: some of SELECT, INSERT, UPDATE, DELETE.

    Raises:
        ValueError: an unknown right.
    """
    unknown = set(rights) - {"SELECT", "INSERT", "UPDATE", "DELETE"}
    if unknown:
        raise ValueError(f"Unknown rights: {', '.join(sorted(unknown))}")
    table_rights[table] = rights


plan_parts: list[Callable[[], str]] = []
"""Functions whose text is part of the migration fingerprint: when it changes, `migrate_tenants` visits every tenant."""
