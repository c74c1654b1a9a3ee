"""The retry policy is data with one method."""

from __future__ import annotations

import pytest

from apps.core.exceptions import TerminalError, TransientError
from apps.engine.contracts import RetryPolicy

POLICY = RetryPolicy(max_attempts=5, base_s=1, cap_s=5, jitter=0)


@pytest.mark.parametrize(
    ("attempt", "delay"),
    [
        (1, 1),
        (2, 2),
        (3, 4),
        (4, 5),  # capped
    ],
)
def test_delay_doubles_up_to_the_cap(attempt: int, delay: float) -> None:
    decision = POLICY.decide(TransientError(), attempt)
    assert decision is not None
    assert decision.delay_s == delay


def test_last_attempt_is_final() -> None:
    assert POLICY.decide(TransientError(), 5) is None


@pytest.mark.parametrize("error", [TerminalError(), ValueError("x"), RuntimeError("x")])
def test_only_transient_errors_are_retried(error: Exception) -> None:
    assert POLICY.decide(error, 1) is None


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_jitter_only_lengthens(chance: float) -> None:
    decision = RetryPolicy(base_s=10, jitter=0.2).decide(TransientError(), 1, chance=chance)
    assert decision is not None
    assert 10 <= decision.delay_s < 12


def test_attempt_counts_from_one() -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        POLICY.decide(TransientError(), 0)
