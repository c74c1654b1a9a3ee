"""Sends many hints cheaply: one thread, one event loop and one connection to the channel layer for the whole process.

Hints about the same object that meet in the queue become one with the latest facts. A layer that is away costs the
hints of that moment and nothing else: pages re-read when they reconnect. After a fork the thread starts anew with the
child's first hint.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any
from uuid import UUID

import structlog
from channels.layers import get_channel_layer

from apps.core.services.hint_groups import group_name

log = structlog.get_logger(__name__)

GATHER_S = 0.02
MAX_PENDING = 10_000
SEND_TIMEOUT_S = 5.0

Key = tuple[UUID, str, str]


class HintSender:
    """Queue and thread; the thread starts with the first hint and ends with `close`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: dict[Key, dict[str, Any]] = {}
        self._thread: threading.Thread | None = None
        self._closing = False

    def send(self, tenant_id: UUID, kind: str, object_id: str, facts: dict[str, Any]) -> None:
        """Queue a hint and return at once; the oldest ones give way when ten thousand are waiting."""
        with self._changed:
            merged = {**self._pending.pop((tenant_id, kind, object_id), {}), **facts}
            if len(self._pending) >= MAX_PENDING:
                self._pending.pop(next(iter(self._pending)))
            self._pending[tenant_id, kind, object_id] = merged
            if self._thread is None or not self._thread.is_alive():
                self._closing = False
                self._thread = threading.Thread(target=self._work, name="hint-sender", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Send what is queued and end the thread; a later hint starts it again."""
        with self._changed:
            thread, self._closing = self._thread, True
            self._changed.notify()
        if thread is not None:
            thread.join(SEND_TIMEOUT_S)

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while True:
                with self._changed:
                    while not self._pending and not self._closing:
                        self._changed.wait()
                    if not self._pending:
                        break
                time.sleep(GATHER_S)
                with self._changed:
                    batch, self._pending = self._pending, {}
                try:
                    runner.run(asyncio.wait_for(_send_all(batch), SEND_TIMEOUT_S))
                except Exception as error:  # noqa: BLE001 - any fault of a lossy medium is only worth a log line
                    log.warning("hints_not_sent", count=len(batch), error=f"{type(error).__name__}: {error}")
            runner.run(_disconnect())


async def _send_all(batch: dict[Key, dict[str, Any]]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    for (tenant_id, kind, object_id), facts in batch.items():
        message = {"type": "hint", "kind": kind, "id": object_id, "facts": facts}
        await layer.group_send(group_name(tenant_id, f"{kind}s"), message)
        await layer.group_send(group_name(tenant_id, kind, object_id), message)


async def _disconnect() -> None:
    """Close this loop's connection; `flush` clears nothing but what this loop itself has subscribed to."""
    layer = get_channel_layer()
    if layer is not None and "flush" in layer.extensions:
        await layer.flush()


hint_sender = HintSender()
