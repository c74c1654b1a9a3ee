"""Business calendars: a zone, days of rest, holidays; and the moments computed with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.integrations.exceptions import CalendarInvalid, CalendarNotFound
from apps.integrations.models import Calendar

DAYS_MOST = 3660
DEFAULT_REST = (6, 7)


@transaction.atomic
def save_calendar(
    slug: str, *, name: str, zone: str, rest_days: Sequence[int], holidays: Sequence[date], actor: Actor
) -> Calendar:
    """Make or replace a calendar.

    Args:
        slug: short name that flows use.
        name: for people.
        zone: name of a time zone (`Europe/Zurich`).
        rest_days: days of the week without work, 1 is Monday.
        holidays: further days without work.
        actor: needs `environment:manage`.

    Raises:
        CalendarInvalid: the zone does not exist, a day is not 1 to 7, or no day of the week is left to work on.
    """
    check_permission(actor, "environment:manage")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CalendarInvalid(f"There is no time zone {zone!r}.", field="zone", value=zone) from None
    rest = sorted(set(rest_days))
    if any(day not in range(1, 8) for day in rest) or len(rest) == 7:
        raise CalendarInvalid("Days of rest are 1 (Monday) to 7, and one day at least is left.", field="rest_days")
    row: Calendar
    row, created = Calendar.objects.update_or_create(
        slug=slug,
        defaults={
            "name": name,
            "zone": zone,
            "rest_days": rest,
            "holidays": sorted({day.isoformat() for day in holidays}),
        },
    )
    record_audit(
        actor=actor,
        action="calendar.created" if created else "calendar.changed",
        target_type="calendar",
        target_id=row.pk,
        summary=f"Saved the calendar {row.name}.",
        facts={"slug": slug, "zone": zone, "holidays": len(row.holidays)},
    )
    return row


def get_calendar(slug: str) -> Calendar:
    """A calendar by its short name.

    Raises:
        CalendarNotFound: there is none.
    """
    row: Calendar | None = Calendar.objects.filter(slug=slug).first()
    if row is None:
        raise CalendarNotFound(f"There is no calendar {slug!r}.", value=slug)
    return row


def is_workday(calendar: Calendar, day: date) -> bool:
    """Whether people work on that day."""
    return day.isoweekday() not in calendar.rest_days and day.isoformat() not in set(calendar.holidays)


def add_workdays(calendar: Calendar, moment: datetime, days: int, at: time) -> datetime:
    """The moment `at` on the `days`-th working day after the day of `moment`, in the calendar's zone, as UTC.

    With `days` 0: that day itself if it is a working day and `at` is still to come, else the next working day. A local
    time that a change of clocks leaves out is taken an hour later; one that comes twice is taken the first time.

    Raises:
        CalendarInvalid: there are not that many working days within ten years.
    """
    zone = ZoneInfo(calendar.zone)
    local = moment.astimezone(zone)
    day, left = local.date(), days
    if left == 0:
        if is_workday(calendar, day) and _at(day, at, zone) > moment:
            return _at(day, at, zone)
        left = 1
    for _ in range(DAYS_MOST):
        day += timedelta(days=1)
        if is_workday(calendar, day):
            left -= 1
            if left == 0:
                return _at(day, at, zone)
    raise CalendarInvalid(f"{calendar.name} has no {days} working days within ten years.", field="holidays")


def _at(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
