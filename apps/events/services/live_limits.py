"""Limits of one socket, as arithmetic."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class LiveLimits:
    """What a browser may ask of its socket.

    Attributes:
        frame_bytes: longest message from the browser.
        messages: messages in a burst.
        messages_per_s: messages per second in the long run.
        topics: subscriptions of one socket.
        sockets: open sockets of one person in one server process.
        revalidate_s: seconds between two checks of the session and the permissions.
        flush_s: hints are gathered this long, so that a burst about one object is one message.
    """

    frame_bytes: int = 4096
    messages: int = 30
    messages_per_s: float = 5.0
    topics: int = 200
    sockets: int = 20
    revalidate_s: float = 30.0
    flush_s: float = 0.05


class TokenBucket:
    """Rate limit with a burst."""

    def __init__(self, size: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start full."""
        self._size = size
        self._per_s = per_s
        self._clock = clock
        self._tokens = float(size)
        self._at = clock()

    def take(self) -> bool:
        """Use one token; False when there is none."""
        moment = self._clock()
        self._tokens = min(self._size, self._tokens + (moment - self._at) * self._per_s)
        self._at = moment
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class SocketCounter:
    """Open sockets by person, within this process; used from the event loop only."""

    def __init__(self) -> None:
        self._open: Counter[object] = Counter()

    def enter(self, person: object, limit: int) -> bool:
        """Count one more; False when the person has `limit` already."""
        if self._open[person] >= limit:
            return False
        self._open[person] += 1
        return True

    def leave(self, person: object) -> None:
        """Count one less."""
        self._open[person] -= 1
        if self._open[person] <= 0:
            del self._open[person]
