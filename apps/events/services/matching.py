"""Which subscriptions want an event, and in which lane: SQL expressions over its CloudEvent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from apps.core.exceptions import PortalError, Problem
from apps.events.contracts import EventRecord, to_full_type
from apps.events.exceptions import SubscriptionInvalid
from apps.expressions.contracts import Field, Schema
from apps.expressions.services.checking import check_expression
from apps.expressions.services.evaluation import evaluate_rows

MAX_TYPES = 50
MAX_LANE_CHARS = 200
EVALUATION_S = 2.0
EVENT_SCHEMA = Schema(
    (
        Field("id", "VARCHAR", nullable=False),
        Field("type", "VARCHAR", nullable=False),
        Field("source", "VARCHAR", nullable=False),
        Field("subject", "VARCHAR", nullable=False),
        Field("time", "TIMESTAMPTZ", nullable=False),
        Field("partitionkey", "VARCHAR", nullable=False),
        Field("data", "JSON", nullable=False),
    )
)
"""Columns that a filter or a key may use; fields of the data are read with `data->>'status'`."""


@dataclass(frozen=True)
class Matcher:
    """The part of a subscription that decides about events.

    Attributes:
        types: patterns, full or short; `*` matches any part.
        filter: condition, or empty.
        ordered: whether matched events have a lane.
        key_expression: what is one lane; empty for the event's partition key.
    """

    types: tuple[str, ...]
    filter: str = ""
    ordered: bool = True
    key_expression: str = ""

    def wants_type(self, type_: str) -> bool:
        """Whether the full type matches one of the patterns."""
        return any(
            pattern == "*" or fnmatchcase(type_, pattern) or fnmatchcase(type_, to_full_type(pattern))
            for pattern in self.types
        )


@dataclass(frozen=True)
class Match:
    """A wanted event, its lane (empty without order), and why its expressions failed, if they did."""

    event: EventRecord
    lane: str
    fault: str = ""


def check_matcher(matcher: Matcher) -> None:
    """Refuse patterns and expressions that can never work.

    Raises:
        SubscriptionInvalid: with a problem for each finding, with offsets inside the expressions.
    """
    problems: list[Problem] = []
    if not matcher.types or len(matcher.types) > MAX_TYPES:
        problems.append(Problem("types", "events.types_count", f"Name 1 to {MAX_TYPES} types, or *."))
    for index, pattern in enumerate(matcher.types):
        if not pattern or len(pattern) > 150 or any(c.isspace() or c in "[]?" for c in pattern):
            problems.append(Problem(f"types[{index}]", "events.type_pattern", "A type has dots, words and `*` only."))
    for path, source in (("filter", matcher.filter), ("key_expression", matcher.key_expression)):
        if not source:
            continue
        checked = check_expression(source, EVENT_SCHEMA)
        problems += [
            Problem(path, found.code, found.message, found.severity, found.start, found.end, found.hint)
            for found in checked.problems
            if found.severity == "error"
        ]
        if path == "filter" and checked.ok and checked.type != "BOOLEAN":
            message = f"A filter is true or false; this is {checked.type}."
            problems.append(Problem(path, "events.filter_type", message, hint="Compare it with something."))
    if problems:
        raise SubscriptionInvalid(problems[0].message, field=problems[0].path, problems=problems)


def list_matches(matcher: Matcher, events: Sequence[EventRecord]) -> list[Match]:
    """The wanted ones of the events, in their order.

    An event for which an expression has no value (a conversion fails) is not dropped in silence: it is a match with a
    fault, which becomes a dead letter that names the reason.
    """
    wanted = [event for event in events if matcher.wants_type(event.type)]
    named = [(name, source) for name, source in (("filter", matcher.filter), ("key", _key_of(matcher))) if source]
    if not wanted or not named:
        return [Match(event, event.key if matcher.ordered else "") for event in wanted]
    found: list[Match] = []
    try:
        rows = evaluate_rows(named, [_row(event) for event in wanted], EVENT_SCHEMA, timeout_s=EVALUATION_S)
    except PortalError as error:
        # Too slow or too large for all together: this subscription's matter, which must not stop the others.
        return [Match(event, "", error.message[:500]) for event in wanted]
    for event, row in zip(wanted, rows, strict=True):
        if row.errors:
            found.append(Match(event, "", "; ".join(f"{error.name}: {error.message}" for error in row.errors)[:500]))
        elif not matcher.filter or row.values["filter"] is True:
            found.append(Match(event, _lane(matcher, event, row.values.get("key"))))
    return found


def _key_of(matcher: Matcher) -> str:
    return matcher.key_expression if matcher.ordered else ""


def _lane(matcher: Matcher, event: EventRecord, value: Any) -> str:
    if not matcher.ordered:
        return ""
    text = str(value) if value is not None else event.key
    return (text or event.key)[:MAX_LANE_CHARS]


def _row(event: EventRecord) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "partitionkey": event.key,
        "data": event.data,
    }
