"""Filters that lists of several apps use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django_filters.fields import IsoDateTimeField


class InstantField(IsoDateTimeField):  # type: ignore[misc] # ships no types
    """An ISO 8601 time as UTC: PostgreSQL refuses offsets beyond 15:59:59, which Python allows."""

    def to_python(self, value: Any) -> datetime | None:
        """The time in UTC.

        Raises:
            ValidationError: it is none, or lies outside the calendar once it is in UTC.
        """
        found: datetime | None = super().to_python(value)
        try:
            return None if found is None else found.astimezone(UTC)
        except OverflowError as error:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from error


class InstantFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """`?from=` and `?to=` of a log."""

    field_class = InstantField
