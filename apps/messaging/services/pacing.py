"""A bound on messages a second, which several threads may share."""

from __future__ import annotations

import threading
import time


class Pace:
    """A bucket that fills at the given rate and holds at most one second's worth."""

    def __init__(self, per_second: int) -> None:
        """Start full.

        Args:
            per_second: 1 or more.
        """
        self._rate = float(per_second)
        self._level = self._rate
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    def available(self) -> int:
        """How many may be taken now."""
        with self._lock:
            self._fill()
            return int(self._level)

    def spend(self, count: int) -> None:
        """Take so many; several sharers may together go below zero, which the next ones wait off."""
        with self._lock:
            self._fill()
            self._level -= count

    def _fill(self) -> None:
        moment = time.monotonic()
        self._level = min(self._rate, self._level + (moment - self._filled) * self._rate)
        self._filled = moment
