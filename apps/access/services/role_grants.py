"""Who may hand out which role: nobody gives away a permission that they do not hold."""

from __future__ import annotations

from collections.abc import Sequence

from apps.access.contracts import Actor
from apps.access.exceptions import RoleNotFound, ScopeNotHeld
from apps.access.models import Role

__all__ = ["check_grantable", "resolve_roles"]


def check_grantable(role: Role, actor: Actor) -> None:
    """Refuse an actor who lacks one of the role's permissions.

    Raises:
        ScopeNotHeld: `facts["permission"]` names the first one missing.
    """
    missing = sorted(code for code in role.permissions if not actor.has(code))
    if missing:
        raise ScopeNotHeld(
            f"The role {role.name} has permissions that you do not have: {', '.join(missing)}.",
            field="roles",
            value=role.slug,
            permission=missing[0],
        )


def resolve_roles(slugs: Sequence[str], *, actor: Actor) -> list[Role]:
    """Roles by slug, all of which the actor may hand out.

    Raises:
        RoleNotFound: a slug is unknown.
        ScopeNotHeld: a role has a permission that the actor lacks.
    """
    found = {role.slug: role for role in Role.objects.filter(slug__in=slugs)}
    for slug in slugs:
        if slug not in found:
            raise RoleNotFound(f"There is no role {slug!r}.", field="roles", value=slug)
        check_grantable(found[slug], actor)
    return list(found.values())
