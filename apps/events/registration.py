"""What the event bus tells the registries at start-up."""

from __future__ import annotations

from apps.access.registries import register_permissions
from apps.events.contracts import LiveKind
from apps.events.events import SUBSCRIPTION_DISABLED, SUBSCRIPTION_TESTED, WEBHOOK_RECEIVED
from apps.events.registries import delivery_targets, event_types, live_kinds, subscribers
from apps.events.services.fan_out import FanOut
from apps.events.services.live_hints import LiveHints
from apps.events.services.webhook_target import WebhookTarget

register_permissions(
    [
        ("event:view", "See the event log"),
        ("event:publish", "Publish events of the organisation's own types"),
        ("event:define", "Define types of events and their schemas"),
        ("event:replay", "Deliver events again, revive or give up dead letters"),
        ("webhook:view", "See subscriptions, webhook endpoints and their deliveries"),
        ("webhook:inspect", "See the bodies of webhooks that were received"),
        ("webhook:edit", "Create, change, pause and archive subscriptions and webhook endpoints"),
    ]
)
event_types.register(SUBSCRIPTION_TESTED)
event_types.register(SUBSCRIPTION_DISABLED)
event_types.register(WEBHOOK_RECEIVED)
subscribers.register(LiveHints())
subscribers.register(FanOut())
delivery_targets.register(WebhookTarget())
live_kinds.register(LiveKind("subscription", "webhook:view"))
