"""Live hints: "something about this object changed", sent to browsers through Channels.

A hint carries no truth. The page that gets it re-reads by REST, so a lost hint costs at most one polling interval.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.core.services.hint_groups import group_name
from apps.core.services.hint_sender import hint_sender

__all__ = ["group_name", "send_hint"]


def send_hint(tenant_id: UUID, kind: str, object_id: object, **facts: Any) -> None:
    """Tell the tenant's browsers, after commit, that `kind` `object_id` changed.

    Args:
        tenant_id: owner of the object.
        kind: singular noun (`run`); lists subscribe to its plural (`runs`).
        object_id: the object.
        facts: a few small JSON values the page may use before it has re-read.

    Never raises and never waits: one thread of this process does the sending.
    """
    transaction.on_commit(partial(hint_sender.send, tenant_id, kind, str(object_id), facts))
