"""What can go wrong with events."""

from __future__ import annotations

from apps.core.exceptions import Conflict, LimitExceeded, NotFound, TerminalError, ValidationFailed


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


class EventNotFound(NotFound):
    """There is no such event."""

    code = "events.not_found"


class SubscriptionNotFound(NotFound):
    """There is no such event subscription."""

    code = "events.subscription_not_found"


class SubscriptionInvalid(ValidationFailed):
    """The subscription cannot be used as it is."""

    code = "events.subscription_invalid"


class SubscriptionStateConflict(Conflict):
    """The subscription is not in a state that allows this."""

    code = "events.subscription_state"
    default_remedy = "Reload it and look at its state."


class DeliveryNotFound(NotFound):
    """There is no such delivery."""

    code = "events.delivery_not_found"


class DeliveryOpen(Conflict):
    """The delivery is still under way."""

    code = "events.delivery_open"
    default_remedy = "Wait for its next attempt, or resume the subscription."


class ReplayTooLarge(LimitExceeded):
    """The range holds more events than one replay may look at."""

    code = "events.replay_too_large"
    status = 422
    default_remedy = "Replay a shorter range, one after the other."


class ReplayChanged(Conflict):
    """The range no longer holds what the preview showed."""

    code = "events.replay_changed"
    default_remedy = "Look at the preview again."


class EndpointNotFound(NotFound):
    """There is no such webhook endpoint."""

    code = "events.endpoint_not_found"


class EndpointInvalid(ValidationFailed):
    """The webhook endpoint cannot be used as it is."""

    code = "events.endpoint_invalid"


class MessageNotFound(NotFound):
    """There is no such received webhook."""

    code = "events.message_not_found"


class SignatureRefused(TerminalError):
    """The webhook is not signed as this endpoint expects."""

    code = "events.signature_refused"
    status = 401
    default_remedy = "Compare secret, scheme and clock of the sender with the endpoint's; sign the body as it is sent."


class ContractNotFound(NotFound):
    """There is no such event contract."""

    code = "events.contract_not_found"


class ContractInvalid(ValidationFailed):
    """The event contract cannot be used as it is."""

    code = "events.contract_invalid"


class ContractBreaks(Conflict):
    """The new version breaks what the contract promises."""

    code = "events.contract_breaks"
    default_remedy = (
        "Change the schema compatibly, publish a new type, or accept the break after telling the consumers."
    )


class PublicationConflict(Conflict):
    """An event with this id and another content was published before."""

    code = "events.id_conflict"
    default_remedy = "Give each event an id of its own."
