"""Cron arithmetic: zones, changes of clocks, calendars, and the newest moments of a long stretch."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice

import pytest

from apps.engine.exceptions import TriggerInvalid
from apps.engine.services.triggers.cron import Schedule, preview_schedule
from apps.integrations.services.calendars import save_calendar
from apps.tenancy.models import Tenant
from tests.engine.factories import SYSTEM


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # Half past two does not exist on 2026-03-29 in Zurich: it comes at once after the gap (03:00 summer time).
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        # It comes twice on 2026-10-25: the first one counts.
        ("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        # Asked between the two: the first one has been, so the next is tomorrow's.
        ("30 2 * * *", "Europe/Zurich", "2026-10-25T01:05", ["2026-10-26T01:30"]),
        # Every half hour goes by real time: nothing is left out, nothing comes twice.
        ("*/30 * * * *", "Europe/Zurich", "2026-10-25T00:15", ["2026-10-25T00:30", "2026-10-25T01:00",
                                                               "2026-10-25T01:30", "2026-10-25T02:00"]),
        ("*/30 * * * *", "Europe/Zurich", "2026-03-29T00:15", ["2026-03-29T00:30", "2026-03-29T01:00",
                                                               "2026-03-29T01:30"]),
        # Lord Howe moves its clocks by half an hour.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
        ("0 9 * * 1-5", "America/New_York", "2026-03-06T15:00", ["2026-03-09T13:00", "2026-03-10T13:00"]),
        ("0 18 L * *", "Europe/Zurich", "2026-02-01T00:00", ["2026-02-28T17:00", "2026-03-31T16:00"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00"]),
    ],
)  # fmt: skip
def test_moments_know_the_clock_of_the_zone(cron: str, zone: str, after: str, expected: list[str]) -> None:
    found = list(islice(Schedule(cron, zone).moments(utc(after)), len(expected)))
    assert found == [utc(text) for text in expected]


def test_no_moment_twice_and_none_out_of_order_in_a_year() -> None:
    for cron in ("0,30 2,3 * * *", "59 1,2,3 * * *", "*/20 2 * * *", "15 */2 * * *"):
        found = list(islice(Schedule(cron, "Europe/Zurich").moments(utc("2026-01-01T00:00")), 1500))
        assert found == sorted(set(found)), cron


def test_newest_moments_are_the_ones_that_walking_finds() -> None:
    schedule = Schedule("*/5 2,3 * * *", "Europe/Zurich")
    first, last = utc("2026-03-01T01:00"), utc("2026-04-01T12:00")
    walked = [m for m in islice(schedule.moments(utc("2026-03-01T00:59")), 2000) if m <= last]
    assert schedule.newest_between(first, last, 7) == walked[-7:]
    assert schedule.newest_between(first, last, 5000) == walked
    assert schedule.count_between(first, last) == len(walked)
    assert Schedule("* * * * *", "UTC").count_between(utc("2020-01-01T00:00"), last) == 1000


def test_calendar_leaves_out_days_without_work(as_acme: Tenant) -> None:
    save_calendar(
        "cron-zurich",
        name="Zurich",
        zone="Europe/Zurich",
        rest_days=[6, 7],
        holidays=[date(2026, 4, 3), date(2026, 4, 6)],
        actor=SYSTEM,
    )
    schedule = Schedule("0 9 * * *", "Europe/Zurich", "cron-zurich")
    found = list(islice(schedule.moments(utc("2026-04-02T06:00")), 2))
    assert found == [utc("2026-04-02T07:00"), utc("2026-04-07T07:00")]


@pytest.mark.parametrize(
    ("cron", "zone", "calendar", "field"),
    [
        ("0 9 * *", "UTC", "", "cron"),
        ("0 0 9 * * *", "UTC", "", "cron"),
        ("61 9 * * *", "UTC", "", "cron"),
        ("0 0 31 2 *", "UTC", "", "cron"),
        ("0-*/5 * * * *", "UTC", "", "cron"),
        ("L/2 L 1-L L#9 5-1", "UTC", "", "cron"),
        ("0 9 * * *", "Europe/Bern", "", "zone"),
        ("0 9 * * *", "../etc/passwd", "", "zone"),
        ("0 9 * * *", "UTC", "nowhere", "calendar"),
    ],
)
def test_unusable_schedules_name_the_field(as_acme: Tenant, cron: str, zone: str, calendar: str, field: str) -> None:
    with pytest.raises(TriggerInvalid) as caught:
        preview_schedule(Schedule(cron, zone, calendar), utc("2026-01-01T00:00"), 3)
    assert field in [problem.path for problem in caught.value.problems]
