"""Verify a tenant's chain, and anchor its head outside the database.

A chain alone proves that nobody edited, deleted, reordered or inserted an entry. It cannot show that its tail was cut
off or that all of it was computed anew by somebody with full access; only an anchor kept elsewhere does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection

from apps.audit.choices import Damage
from apps.audit.contracts import Anchor, ChainReport, Finding
from apps.audit.services.chain import GENESIS, compute_content_hash, compute_link
from apps.core.clock import now
from apps.tenancy.services.context import require_tenant

BATCH_ROWS = 5000
MAX_FINDINGS = 100

# As text, spelled by the server as `canonical.format_time` spells it: a million rows make every conversion count.
_COLUMNS = (
    """id::text, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), actor_kind, actor_id::text, """
    "actor_name, action, target_type, target_id, summary, facts::text, request_id, content_hash, number, prev_hash, "
    "hash"
)
# A closed range, not a LIMIT: without statistics the planner would read and sort the whole rest for every batch.
_READ = f"SELECT {_COLUMNS} FROM audit_entry WHERE number > %s AND number <= %s ORDER BY number"  # noqa: S608 - constant text
_NEXT = "SELECT min(number) FROM audit_entry WHERE number > %s AND number <= %s"
_STRAYS = "SELECT id::text FROM audit_entry WHERE number IS NULL OR number < 1 ORDER BY id LIMIT %s"
_SUMS = (
    "SELECT (SELECT number FROM audit_head), (SELECT max(number) FROM audit_entry), "
    "(SELECT count(*) FROM audit_entry WHERE number BETWEEN 1 AND %s)"
)


def verify_chain(anchors: Iterable[Anchor] = (), *, on_progress: Callable[[int], None] | None = None) -> ChainReport:
    """Recompute the current tenant's whole chain.

    Args:
        anchors: heads taken earlier and kept elsewhere; those of other tenants are ignored.
        on_progress: called with the number of entries read, after each batch of 5,000.

    Returns:
        What was read and everything that is wrong with it.

    The head is read first and the chain up to it, so entries that are written meanwhile neither disturb nor count.
    """
    tenant_id = str(require_tenant().id)
    walk = _Walk(tenant_id, [anchor for anchor in anchors if anchor.tenant_id == tenant_id])
    with connection.cursor() as cursor:
        if connection.in_atomic_block:
            # Entries of the caller's own transaction are chained now instead of at its end.
            cursor.execute("SET CONSTRAINTS audit_entry_chain IMMEDIATE")
            cursor.execute("SET CONSTRAINTS audit_entry_chain DEFERRED")
        head_number, head_hash = _read_head()
        position = 0
        while position < head_number:
            ends_at = min(position + BATCH_ROWS, head_number)
            cursor.execute(_READ, [position, ends_at])
            rows = cursor.fetchall()
            for row in rows:
                walk.visit(row)
            if on_progress:
                on_progress(walk.entries)
            position = ends_at
            if not rows:
                # Somebody made a hole: go on behind it, however wide it is.
                cursor.execute(_NEXT, [position, head_number])
                behind = cursor.fetchone()[0]
                position = head_number if behind is None else behind - 1
        cursor.execute(_STRAYS, [MAX_FINDINGS])
        strays = [row[0] for row in cursor.fetchall()]
        cursor.execute(_SUMS, [head_number])
        newest_head, newest_entry, counted = cursor.fetchone()
    walk.finish(head_number, head_hash, strays=strays)
    if counted != walk.entries or (newest_entry or 0) > (newest_head or 0):
        walk.note(Damage.HEAD_MISMATCH, newest_entry, None)
    return ChainReport(walk.entries, walk.number, walk.hash.hex(), tuple(walk.findings), len(walk.anchors))


def read_head() -> Anchor:
    """The current tenant's head, ready to be kept elsewhere."""
    tenant_id = str(require_tenant().id)
    number, head_hash = _read_head()
    return Anchor(tenant_id=tenant_id, number=number, hash=head_hash.hex(), at=now())


class _Walk:
    """One pass over the chain."""

    def __init__(self, tenant_id: str, anchors: list[Anchor]) -> None:
        self.tenant_id = tenant_id
        self.anchors = anchors
        self.entries = 0
        self.number = 0
        self.hash = GENESIS
        self.findings: list[Finding] = []
        self._anchored: dict[int, set[str]] = {}
        for anchor in anchors:
            self._anchored.setdefault(anchor.number, set()).add(anchor.hash)

    def visit(self, row: tuple[Any, ...]) -> None:
        """Check the next entry against the one before it, itself and the anchors."""
        (entry_id, at, actor_kind, actor_id, actor_name, action, target_type, target_id, summary, facts) = row[:10]
        request_id, content_hash, number, prev_hash, stored_hash = row[10:]
        self.entries += 1
        expected = compute_content_hash(
            tenant_id=self.tenant_id,
            entry_id=entry_id,
            at=at,
            actor_kind=actor_kind,
            actor_id=actor_id,
            actor_name=actor_name,
            action=action,
            target_type=target_type,
            target_id=target_id,
            summary=summary,
            facts=json.loads(facts),
            request_id=request_id,
        )
        previous, stored = bytes(prev_hash or b""), bytes(stored_hash or b"")
        if number != self.number + 1:
            self.note(Damage.MISSING, number, entry_id)
        elif previous != self.hash:
            self.note(Damage.LINK_BROKEN, number, entry_id)
        if expected != bytes(content_hash) or compute_link(previous, number, expected) != stored:
            self.note(Damage.CONTENT_CHANGED, number, entry_id)
        if self._anchored.get(number, {stored.hex()}) != {stored.hex()}:
            self.note(Damage.ANCHOR_MISMATCH, number, entry_id)
        self.number, self.hash = number, stored

    def finish(self, head_number: int, head_hash: bytes, *, strays: list[str]) -> None:
        """Check the end: entries outside the chain, the head, and anchors beyond the last entry."""
        for entry_id in strays:
            self.note(Damage.UNCHAINED, None, entry_id)
        if (head_number, head_hash) != (self.number, self.hash):
            self.note(Damage.HEAD_MISMATCH, head_number, None)
        for number in sorted(self._anchored):
            if number > self.number:
                self.note(Damage.ANCHOR_MISSING, number, None)

    def note(self, kind: Damage, number: int | None, entry_id: str | None) -> None:
        """Keep a finding, up to the limit."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, number, entry_id))


def _read_head() -> tuple[int, bytes]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT number, hash FROM audit_head")
        row = cursor.fetchone()
    return (0, GENESIS) if row is None else (row[0], bytes(row[1]))
