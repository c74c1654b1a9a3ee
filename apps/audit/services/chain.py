"""The arithmetic of the hash chain; the database computes the same in `audit_chain()` (first migration).

    content_hash = SHA-256(canonical JSON of the entry)
    hash         = SHA-256(prev_hash || number as 8 bytes, big-endian || content_hash)    (entry 1: prev_hash is zeros)

The content is hashed where it is written, the chaining happens in a deferred trigger while the transaction commits:
the head row is locked for the length of one commit, not of the caller's whole transaction, so that writers neither
queue behind a long transaction nor deadlock with each other's row locks.
"""

from __future__ import annotations

import hashlib
from typing import Any

from apps.audit.services.canonical import to_canonical

GENESIS = bytes(32)


def compute_content_hash(
    *,
    tenant_id: str,
    entry_id: str,
    at: str,
    actor_kind: str,
    actor_id: str | None,
    actor_name: str,
    action: str,
    target_type: str,
    target_id: str,
    summary: str,
    facts: Any,
    request_id: str,
) -> bytes:
    """SHA-256 of what the entry says; the tenant is part of it, so a chain cannot be moved to another tenant.

    Args:
        tenant_id, entry_id, actor_id: lower-case UUIDs as text.
        at: as `format_time` spells it.
        facts: normalised (see `canonical.normalise`).
    """
    content = {
        "v": 1,
        "tenant": tenant_id,
        "id": entry_id,
        "at": at,
        "actor_kind": actor_kind,
        "actor_id": actor_id,
        "actor_name": actor_name,
        "action": action,
        "target_type": target_type,
        "target_id": target_id,
        "summary": summary,
        "facts": facts,
        "request_id": request_id,
    }
    return hashlib.sha256(to_canonical(content)).digest()


def compute_link(prev_hash: bytes, number: int, content_hash: bytes) -> bytes:
    """Hash of entry `number`."""
    return hashlib.sha256(prev_hash + number.to_bytes(8, "big") + content_hash).digest()
