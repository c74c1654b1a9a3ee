"""The checker of histories names each sort of fault, and counts no answer that never came as a refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.history import History

GOOD = [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def answered(history: History) -> None:
    history.acked(*GOOD)
    history.refused(("a", 7))
    history.unknown(("b", 8), ("b", 9))


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda history: history.seen(GOOD), []),
        (lambda history: history.seen([*GOOD, ("b", 8)]), []),
        (lambda history: history.seen(GOOD[1:]), ["lost ('a', 0)"]),
        (lambda history: history.seen([*GOOD, ("a", 7)]), ["unknown ('a', 7)"]),
        (lambda history: history.seen([*GOOD, GOOD[3]]), ["doubled ('b', 1)"]),
        (lambda history: history.seen([GOOD[2], *GOOD[:2], GOOD[3]]), ["reordered ('a', 0)"]),
        (lambda history: (history.seen(GOOD, by="x"), history.seen(GOOD[:3], by="y")), ["lost ('b', 1) at y"]),
        (lambda history: history.outcomes(["post", "post", "read"]), ["two outcomes post"]),
        (lambda history: history.say("early by 3 s"), ["early by 3 s"]),
    ],
    ids=["good", "unknown-seen", "lost", "refused-seen", "doubled", "reordered", "one-of-two", "outcomes", "said"],
)
def test_checker_names_what_is_wrong(act: Callable[[History], object], expected: list[str]) -> None:
    history = History(ordered=True)
    answered(history)
    act(history)
    assert history.problems() == expected
