"""The history of one experiment, and what is wrong with it.

Clients note what they asked for and how it was answered, observers what they saw. An answer that never came is
`unknown`: it may be seen or not, and is never counted as refused. An entry of an ordered log is `(key, number)`, whose
numbers were committed in ascending order for each key.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any


class History:
    """What was asked, what was answered, what was seen."""

    def __init__(self, *, ordered: bool = False) -> None:
        """Begin.

        Args:
            ordered: entries are `(key, number)`, and each key must be seen in ascending order.
        """
        self.ordered = ordered
        self._lock = threading.Lock()
        self._answers: dict[str, set[Hashable]] = {"acked": set(), "refused": set(), "unknown": set()}
        self._seen: dict[str, list[Hashable]] = {}
        self._outcomes: Counter[Hashable] = Counter()
        self._said: list[str] = []

    def acked(self, *entries: Hashable) -> None:
        """The system has promised these."""
        with self._lock:
            self._answers["acked"].update(entries)

    def refused(self, *entries: Hashable) -> None:
        """The system has said no to these, or rolled them back."""
        with self._lock:
            self._answers["refused"].update(entries)

    def unknown(self, *entries: Hashable) -> None:
        """No answer came."""
        with self._lock:
            self._answers["unknown"].update(entries)

    def seen(self, entries: Iterable[Hashable], *, by: str = "") -> None:
        """An observer saw these effects, in this order."""
        with self._lock:
            self._seen.setdefault(by, []).extend(entries)

    def outcomes(self, steps: Iterable[Hashable]) -> None:
        """These steps got a terminal record, once for each time that they are named."""
        with self._lock:
            self._outcomes.update(steps)

    def say(self, problem: str) -> None:
        """Something is wrong that has no entry of its own (a late write that was taken, a timer that was early)."""
        with self._lock:
            self._said.append(problem)

    def problems(self) -> list[str]:
        """What is wrong, in words: lost, unknown, doubled, reordered, two outcomes, and what was said."""
        wrong = list(self._said)
        acked, unknown = self._answers["acked"], self._answers["unknown"]
        for by, seen in self._seen.items():
            at = f" at {by}" if by else ""
            counts = Counter(seen)
            wrong += [f"lost {entry}{at}" for entry in _sorted(acked - counts.keys())]
            wrong += [f"unknown {entry}{at}" for entry in _sorted(counts.keys() - acked - unknown)]
            wrong += [f"doubled {entry}{at}" for entry in _sorted(entry for entry in counts if counts[entry] > 1)]
            wrong += [f"reordered {entry}{at}" for entry in _inversions(seen)] if self.ordered else []
        wrong += [f"two outcomes {step}" for step in _sorted(step for step, n in self._outcomes.items() if n > 1)]
        return wrong

    def counts(self) -> dict[str, Any]:
        """Figures for the report."""
        seen = {by or "seen": len(entries) for by, entries in self._seen.items()}
        answers = {name: len(entries) for name, entries in self._answers.items() if entries}
        return {**answers, **seen, **({"outcomes": self._outcomes.total()} if self._outcomes else {})}

    def save(self, path: Path, **facts: Any) -> None:
        """Keep everything, so that somebody can look what happened."""
        whole = {
            **facts,
            "problems": self.problems(),
            **{name: _sorted(entries) for name, entries in self._answers.items()},
            "seen": self._seen,
            "outcomes": [[repr(step), count] for step, count in self._outcomes.items()],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(whole, default=str))


def check_log(published: Iterable[Hashable], seen: Iterable[Hashable]) -> list[str]:
    """What is wrong with one observer's view of an ordered log."""
    history = History(ordered=True)
    history.acked(*published)
    history.seen(seen)
    return history.problems()


def _inversions(seen: Iterable[Any]) -> list[Any]:
    last: dict[Any, Any] = {}
    found = []
    for key, number in seen:
        if key in last and number < last[key]:
            found.append((key, number))
        last[key] = max(number, last.get(key, number))
    return found


def _sorted(entries: Iterable[Hashable]) -> list[Any]:
    return sorted(entries, key=lambda entry: (str(type(entry)), entry))
