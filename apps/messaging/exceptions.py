"""What can go wrong with consumers."""

from __future__ import annotations

from apps.core.exceptions import Conflict, NotFound, PortalError, TerminalError, ValidationFailed


class ConsumerNotFound(NotFound):
    """There is no such consumer."""

    code = "messaging.consumer_not_found"


class ConsumerInvalid(ValidationFailed):
    """The consumer cannot be used as it is."""

    code = "messaging.consumer_invalid"


class LetterNotFound(NotFound):
    """There is no such dead letter."""

    code = "messaging.letter_not_found"


class LetterSettled(Conflict):
    """The dead letter was redelivered or discarded before."""

    code = "messaging.letter_settled"
    default_remedy = "Reload the list."


class LetterIncomplete(TerminalError):
    """The message was larger than a dead letter keeps, so only its beginning is left."""

    code = "messaging.letter_incomplete"
    default_remedy = "Ask the sender to send it again in smaller parts, then discard this letter."


class MessageRefused(ValidationFailed):
    """The message cannot become an event."""

    code = "messaging.message_refused"


class LeaseLost(PortalError):
    """The consumer was paused, changed, or taken over by another process."""

    code = "messaging.lease_lost"
