"""Environments, what connection slots mean in them, and their variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.connectors.selectors import list_connections_by_id
from apps.core.exceptions import Problem
from apps.core.services.hints import send_hint
from apps.integrations.contracts import Definition
from apps.integrations.exceptions import BindingInvalid, EnvironmentNotFound, NameInvalid, VariableInvalid
from apps.integrations.models import ConnectionBinding, Environment, Variable
from apps.tenancy.services.context import require_tenant
from apps.vault.services.secrets import list_secret_names, reveal_secrets, store_secrets

VAULT_OWNER = "environment"
SLOT = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
VARIABLE = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
VARIABLES_MOST = 200
VALUE_CHARS = 1000
MASK = "••••••"

BUILTIN_ENVIRONMENTS = (
    ("dev", "Development", "Build and try flows here; drafts can run.", False),
    ("test", "Test", "Rehearse what will go to production.", False),
    ("prod", "Production", "What the business relies on.", True),
)


@dataclass(frozen=True)
class VariableInput:
    """One variable as given.

    Attributes:
        name: as read by expressions: `var.<name>`.
        value: text; None keeps the stored value (of a secret one, which nobody can read back).
        secret: keep the value in the vault, hide it in previews.
    """

    name: str
    value: str | None
    secret: bool = False


def provision_environments() -> None:
    """Make the built-in environments; those that exist stay as they are."""
    for position, (slug, name, description, protected) in enumerate(BUILTIN_ENVIRONMENTS):
        Environment.objects.get_or_create(
            slug=slug,
            defaults={"name": name, "description": description, "position": position, "protected": protected},
        )


@transaction.atomic
def update_environment(
    slug: str, *, actor: Actor, name: str | None = None, description: str | None = None, protected: bool | None = None
) -> Environment:
    """Rename, describe, protect or unprotect an environment.

    Raises:
        EnvironmentNotFound: there is none of that short name.
        NameInvalid: the name is empty or too long.
    """
    check_permission(actor, "environment:manage")
    row = _lock(slug)
    before = {"name": row.name, "description": row.description, "protected": row.protected}
    if name is not None:
        cleaned = " ".join(name.split())
        if not cleaned or len(cleaned) > 100:
            raise NameInvalid("An environment's name has 1 to 100 characters.", field="name", value=name)
        row.name = cleaned
    if description is not None:
        row.description = description
    if protected is not None:
        row.protected = protected
    after = {"name": row.name, "description": row.description, "protected": row.protected}
    if after != before:
        row.save(update_fields=["name", "description", "protected", "updated_at"])
        _tell(
            row,
            "environment.updated",
            f"Changed the environment {row.slug}.",
            {"before": before, "after": after},
            actor,
        )
    return row


@transaction.atomic
def replace_bindings(slug: str, bindings: Mapping[str, UUID], *, actor: Actor) -> dict[str, UUID]:
    """Say what every slot means in an environment; slots that are left out lose their binding.

    Args:
        slug: the environment.
        bindings: {slot: connection id}.
        actor: needs `environment:manage` and `connection:use`.

    Raises:
        EnvironmentNotFound: there is none of that short name.
        BindingInvalid: a slot's name or a connection is not valid; one problem each.
    """
    check_permission(actor, "environment:manage")
    check_permission(actor, "connection:use")
    row = _lock(slug)
    known = {item.id: item for item in list_connections_by_id(list(bindings.values()))}
    problems = []
    for slot, connection_id in bindings.items():
        if not SLOT.match(slot):
            problems.append(_problem(slot, "a slot has small letters, digits, - and _, at most 63 characters."))
        elif connection_id not in known or known[connection_id].archived_at is not None:
            problems.append(_problem(slot, f"there is no connection {connection_id}."))
    if problems:
        raise BindingInvalid(f"{problems[0].path}: {problems[0].message}", field=problems[0].path, problems=problems)
    before = dict(row.bindings.values_list("slot", "connection_id"))
    after = dict(bindings)
    if after != before:
        row.bindings.exclude(slot__in=after).delete()
        for slot, connection_id in after.items():
            ConnectionBinding.objects.update_or_create(
                environment=row, slot=slot, defaults={"connection_id": connection_id}
            )
        facts = {"before": {k: str(v) for k, v in before.items()}, "after": {k: str(v) for k, v in after.items()}}
        _tell(row, "environment.bindings_changed", f"Changed the connections of {row.slug}.", facts, actor)
    return after


@sensitive_variables()
@transaction.atomic
def replace_variables(slug: str, variables: Sequence[VariableInput], *, actor: Actor) -> list[Variable]:
    """Set the variables of an environment; those that are left out are removed.

    Args:
        slug: the environment.
        variables: at most `VARIABLES_MOST`.
        actor: needs `environment:manage`, and `secret:write` where a secret value is given or removed.

    Raises:
        EnvironmentNotFound: there is none of that short name.
        VariableInvalid: a name or value is not valid; one problem each, never with the value.
    """
    check_permission(actor, "environment:manage")
    row = _lock(slug)
    stored = {item.name: item for item in row.variables.all()}
    hidden = set(list_secret_names(VAULT_OWNER, row.pk))
    _ensure_variables(variables, stored, hidden)
    wanted = {item.name: item for item in variables}
    secrets: dict[str, str | None] = {name: None for name in hidden if name not in wanted or not wanted[name].secret}
    row.variables.exclude(name__in=wanted).delete()
    for item in variables:
        value = "" if item.secret else item.value if item.value is not None else stored[item.name].value
        Variable.objects.update_or_create(
            environment=row, name=item.name, defaults={"value": value, "secret": item.secret}
        )
        if item.secret and item.value is not None:
            secrets[item.name] = item.value
    if secrets:
        store_secrets(VAULT_OWNER, row.pk, secrets, actor=actor)
    facts = {
        "names": sorted(wanted),
        "removed": sorted(set(stored) - set(wanted)),
        "secrets_changed": sorted(secrets),
    }
    _tell(row, "environment.variables_changed", f"Changed the variables of {row.slug}.", facts, actor)
    return list(row.variables.order_by("name"))


@sensitive_variables()
def resolve_variables(
    environment_id: UUID, definition: Definition, *, purpose: str = "run.start", mask_secrets: bool = False
) -> dict[str, str]:
    """Values of the variables that a definition declares, in one environment.

    Args:
        environment_id: where.
        definition: declares names and defaults.
        purpose: dotted name for the vault's log.
        mask_secrets: give a mask in place of secret values, for previews.

    Returns:
        {name: text} of every declared variable.

    Raises:
        VariableInvalid: a variable without default has no value here.
    """
    names = list(definition.variables)
    if not names:
        return {}
    rows = {row.name: row for row in Variable.objects.filter(environment_id=environment_id, name__in=names)}
    revealed: Mapping[str, str] = {}
    if not mask_secrets and any(row.secret for row in rows.values()):
        revealed = reveal_secrets(VAULT_OWNER, environment_id, purpose=purpose)
    values: dict[str, str] = {}
    for name, default in definition.variables.items():
        row = rows.get(name)
        value = default
        if row is not None:
            value = row.value if not row.secret else MASK if mask_secrets else revealed.get(name)
        if value is None:
            raise VariableInvalid(
                f"The variable {name!r} has no value in this environment.",
                field=f"variables.{name}",
                remedy="Set it under Settings, Environments, or give it a default in the flow.",
            )
        values[name] = value
    return values


def list_secret_variables(names: Sequence[str]) -> set[str]:
    """Those of the names that are secret in any environment."""
    return set(Variable.objects.filter(name__in=names, secret=True).values_list("name", flat=True))


def _ensure_variables(variables: Sequence[VariableInput], stored: Mapping[str, Variable], hidden: set[str]) -> None:
    problems = []
    if len(variables) > VARIABLES_MOST:
        problems.append(Problem("variables", VariableInvalid.code, f"There are more than {VARIABLES_MOST} variables."))
    seen: set[str] = set()
    for index, item in enumerate(variables):
        path = f"variables[{index}]"
        if not VARIABLE.match(item.name):
            message = "A name begins with a small letter and has small letters, digits and _."
            problems.append(Problem(f"{path}.name", VariableInvalid.code, message))
        if item.name in seen:
            problems.append(Problem(f"{path}.name", VariableInvalid.code, f"{item.name!r} is there twice."))
        seen.add(item.name)
        known = item.name in hidden if item.secret else item.name in stored and not stored[item.name].secret
        if item.value is None and not known:
            problems.append(Problem(f"{path}.value", VariableInvalid.code, f"{item.name!r} needs a value."))
        if item.value is not None and (len(item.value) > VALUE_CHARS or "\x00" in item.value):
            message = f"A value has at most {VALUE_CHARS} characters and no NUL."
            problems.append(Problem(f"{path}.value", VariableInvalid.code, message))
    if problems:
        raise VariableInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _problem(slot: str, message: str) -> Problem:
    return Problem(path=f"bindings.{slot}", code=BindingInvalid.code, message=message)


def _lock(slug: str) -> Environment:
    row: Environment | None = Environment.objects.select_for_update().filter(slug=slug).first()
    if row is None:
        raise EnvironmentNotFound(value=slug)
    return row


def _tell(row: Environment, action: str, summary: str, facts: dict[str, Any], actor: Actor) -> None:
    record_audit(actor=actor, action=action, target_type="environment", target_id=row.pk, summary=summary, facts=facts)
    send_hint(require_tenant().id, "environment", row.pk, slug=row.slug)
