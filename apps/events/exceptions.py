"""What can go wrong with events."""

from __future__ import annotations

from apps.core.exceptions import NotFound, TerminalError, ValidationFailed


class EventTypeUnknown(NotFound):
    """No app has registered this event type."""

    code = "events.type_unknown"
    status = 500
    default_remedy = "Register an EventType in the publishing app's events.py."


class EventInvalid(ValidationFailed):
    """The event's data do not fit its type."""

    code = "events.invalid"


class SubscriberUnknown(NotFound):
    """There is no such subscriber."""

    code = "events.subscriber_unknown"


class RelayLost(TerminalError):
    """The relay lost its leadership."""

    code = "events.relay_lost"
