"""Moments of a cron expression in a time zone, on the working days of a calendar.

A change of clocks is treated as Debian's cron does (cronsim): a fixed time that the change leaves out comes at once
after the gap, one that comes twice is taken the first time; a time with a star in minutes or hours goes by real hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from apps.core.exceptions import Problem
from apps.engine.exceptions import TriggerInvalid
from apps.integrations.exceptions import CalendarNotFound
from apps.integrations.services.calendars import get_calendar, is_workday

CANDIDATES_MOST = 50_000
COUNT_MOST = 1_000
PREVIEW_MOST = 100
_WINDOWS = tuple(timedelta(hours=hours) for hours in (1, 8, 64, 512, 4096, 32768, 262144))


@dataclass(frozen=True)
class Schedule:
    """When to fire: cron expression of five fields, IANA zone, short name of a calendar or empty."""

    cron: str
    zone: str
    calendar: str = ""

    def moments(self, after: datetime) -> Iterator[datetime]:
        """Moments strictly after one, as UTC, rising; ends when there is none within the next decades.

        With a calendar, moments on days that are no working days there (in the calendar's own zone) are left out.
        """
        calendar = get_calendar(self.calendar) if self.calendar else None
        place = ZoneInfo(calendar.zone) if calendar is not None else None
        last = after.astimezone(UTC)
        for found in islice(CronSim(self.cron, after.astimezone(_zone(self.zone))), CANDIDATES_MOST):
            moment = found.astimezone(UTC)
            if moment <= last:
                continue  # asked for within the hour that comes twice: its fixed times were the first time
            last = moment
            if calendar is None or is_workday(calendar, moment.astimezone(place).date()):
                yield moment

    def next_after(self, after: datetime) -> datetime | None:
        """The next moment, or None."""
        return next(self.moments(after), None)

    def newest_between(self, first: datetime, last: datetime, most: int) -> list[datetime]:
        """The newest moments from `first` to `last`, both included, rising; at most that many."""
        earliest = first - timedelta(microseconds=1)
        for window in _WINDOWS:
            start = max(earliest, last - window)
            found = self._between(start, last)
            if len(found) >= most or start == earliest:
                return found[-most:]
        return self._between(earliest, last)[-most:]

    def count_between(self, first: datetime, last: datetime) -> int:
        """How many moments lie between, both included; counts to a thousand."""
        return len(self._between(first - timedelta(microseconds=1), last, COUNT_MOST))

    def _between(self, after: datetime, last: datetime, most: int = CANDIDATES_MOST) -> list[datetime]:
        found: list[datetime] = []
        for moment in self.moments(after):
            if moment > last or len(found) == most:
                break
            found.append(moment)
        return found


def check_schedule(schedule: Schedule) -> list[Problem]:
    """What keeps the schedule from being used."""
    problems: list[Problem] = []
    try:
        _zone(schedule.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"There is no time zone {schedule.zone!r}."
        problems.append(Problem("zone", "engine.trigger.zone", message, hint="Use a name such as Europe/Zurich."))
    try:
        if len(schedule.cron.split()) != 5:
            raise CronSimError("Give five fields: minute, hour, day, month, day of the week")
        CronSim(schedule.cron, datetime(2026, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError) as error:
        problems.append(
            Problem("cron", "engine.trigger.cron", f"{error or 'It cannot be read'}.", hint="0 6 * * 1-5 is weekdays.")
        )
    if schedule.calendar:
        try:
            get_calendar(schedule.calendar)
        except CalendarNotFound as error:
            problems.append(Problem("calendar", error.code, error.message))
    if not problems and schedule.next_after(datetime.now(UTC)) is None:
        message = "This never comes."
        problems.append(Problem("cron", "engine.trigger.never", message, hint="Look at the day, and at the calendar."))
    return problems


def preview_schedule(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """The next moments after one, at most a hundred.

    Raises:
        TriggerInvalid: with every problem of the schedule.
    """
    problems = check_schedule(schedule)
    if problems:
        raise TriggerInvalid(problems[0].message, field=problems[0].path, problems=problems)
    return list(islice(schedule.moments(after), min(count, PREVIEW_MOST)))


def explain_cron(cron: str) -> str:
    """The expression as an English sentence."""
    return CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)).explain()


@lru_cache(maxsize=128)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
