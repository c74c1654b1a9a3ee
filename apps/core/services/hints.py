"""Live hints: "something about this object changed", sent to browsers through Channels.

A hint carries no truth. The page that gets it re-reads by REST, so a lost hint costs at most one polling interval.
"""

from __future__ import annotations

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

log = structlog.get_logger(__name__)


def group_name(tenant_id: object, kind: str, object_id: object | None = None) -> str:
    """Channels group of one tenant's kind (`runs`) or object (`run`, id).

    The only place where such a name is built, so that no group can be shared between tenants.
    """
    base = f"t.{tenant_id}.{kind}"
    return base if object_id is None else f"{base}.{object_id}"


def send_hint(tenant_id: object, kind: str, object_id: object, **facts: object) -> None:
    """Tell the tenant's browsers, after commit, that `kind` `object_id` changed.

    Args:
        tenant_id: owner of the object.
        kind: singular noun (`run`); lists subscribe to its plural (`runs`).
        object_id: the object.
        facts: a few small JSON values the page may use before it has re-read.

    Never raises: a broken channel layer must not break the write that caused the hint.
    """
    message = {"type": "hint", "kind": kind, "id": str(object_id), "facts": facts}

    def deliver() -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        try:
            async_to_sync(layer.group_send)(group_name(tenant_id, f"{kind}s"), message)
            async_to_sync(layer.group_send)(group_name(tenant_id, kind, object_id), message)
        except Exception as error:  # noqa: BLE001 - any fault of a lossy medium is only worth a log line
            log.warning("hint_not_sent", kind=kind, object_id=str(object_id), error=str(error))

    transaction.on_commit(deliver)
