"""Canonical JSON is the very bytes of RFC 8785."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.exceptions import AuditFactsInvalid
from apps.audit.services.canonical import format_time, normalise, to_canonical

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats() | st.decimals() | st.uuids(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_bytes_equal_those_of_the_rfc8785_package(value: Any) -> None:
    normal = normalise(value)

    assert to_canonical(normal) == rfc8785.dumps(normal)


@given(VALUES)
def test_a_round_trip_through_json_changes_nothing(value: Any) -> None:
    normal = normalise(value)

    assert to_canonical(json.loads(json.dumps(normal))) == to_canonical(normal)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("10.50"), "10.50"),  # money keeps its digits
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (2**60, str(2**60)),  # beyond what JSON readers keep exactly
        (0.1, "0.1"),  # floats have many spellings, text has one
        ({"b": 1, "a": (1, 2)}, {"b": 1, "a": [1, 2]}),
        ("a\x00b", "a\ufffdb"),  # PostgreSQL cannot hold NUL
        ({3, 1, 2}, [1, 2, 3]),
    ],
)
def test_values_become_json(value: Any, expected: Any) -> None:
    assert normalise(value) == expected


def test_times_are_utc_with_microseconds() -> None:
    moment = datetime(2026, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))

    assert format_time(moment) == "2026-03-01T10:30:00.000000Z"
    assert normalise({"at": moment.astimezone(UTC)}) == {"at": "2026-03-01T10:30:00.000000Z"}


@pytest.mark.parametrize("value", [object(), b"bytes", {"a": {1: object()}}])
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(AuditFactsInvalid):
        normalise(value)


def test_bottomless_nesting_is_refused() -> None:
    value: list[Any] = []
    value.append(value)

    with pytest.raises(AuditFactsInvalid):
        normalise(value)
