"""The one place where cache keys are built: each begins with the schema, so no value crosses tenants."""

from __future__ import annotations

from apps.tenancy.contracts import current_scope


def make_key(key: object, key_prefix: str, version: int) -> str:
    """Django's `KEY_FUNCTION`: `<schema>:<prefix>:<version>:<key>`."""
    return f"{current_scope.get().schema_name}:{key_prefix}:{version}:{key}"


def reverse_key(key: str) -> str:
    """django-redis' `REVERSE_KEY_FUNCTION`: the key that `make_key` was given."""
    return key.split(":", 3)[3]


def throttle_key(kind: str, ident: object) -> str:
    """Key of a rate limit inside the current tenant; `make_key` adds the tenant."""
    return f"throttle:{kind}:{ident}"
