"""Names of Channels groups. Built here and nowhere else, so that no group can be shared between tenants."""

from __future__ import annotations


def group_name(tenant_id: object, kind: str, object_id: object | None = None) -> str:
    """Channels group of one tenant's kind (`runs`) or object (`run`, id)."""
    base = f"t.{tenant_id}.{kind}"
    return base if object_id is None else f"{base}.{object_id}"
