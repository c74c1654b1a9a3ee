"""Anchors: heads of the chains, appended to a file (or sent with the log) that the database's owner cannot rewrite."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import structlog

from apps.audit.contracts import Anchor
from apps.audit.exceptions import AnchorFileUnreadable
from apps.audit.services.verification import read_head
from apps.tenancy.services.context import each_tenant

log = structlog.get_logger(__name__)


def take_anchors(path: Path | None) -> list[Anchor]:
    """Anchor the head of every served tenant, once each.

    Args:
        path: file to append to, one JSON object a line; None writes to the structured log only. Put it on storage that
            this machine can append to but not rewrite, or ship it away.

    Each anchor is logged too (`audit_anchored`), so a log store outside the database is enough to prove a rewrite.
    """
    anchors = [read_head() for _tenant in each_tenant()]
    for anchor in anchors:
        log.info("audit_anchored", **anchor.to_json())
    if path is not None:
        append_anchors(path, anchors)
    return anchors


def append_anchors(path: Path, anchors: Iterable[Anchor]) -> None:
    """Append the anchors in one write that is on disk when this returns."""
    text = "".join(json.dumps(anchor.to_json(), sort_keys=True) + "\n" for anchor in anchors)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_anchors(path: Path) -> list[Anchor]:
    """Anchors of a file that `append_anchors` wrote (or of exported `audit_anchored` log lines).

    Raises:
        AnchorFileUnreadable: no such file, or a line that is not an anchor; the message names the line.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise AnchorFileUnreadable(f"Cannot read {path}: {error.strerror}.", value=path) from error
    anchors: list[Anchor] = []
    for position, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            anchors.append(
                Anchor(
                    tenant_id=str(item["tenant_id"]),
                    number=int(item["number"]),
                    hash=str(item["hash"]),
                    at=datetime.fromisoformat(item["at"]),
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            raise AnchorFileUnreadable(f"Line {position} of {path} is not an anchor.", value=path) from error
    return anchors
