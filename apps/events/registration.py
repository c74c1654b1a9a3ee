"""What the event bus tells the registries at start-up."""

from __future__ import annotations

from apps.access.registries import register_permissions
from apps.events.registries import subscribers
from apps.events.services.live_hints import LiveHints

register_permissions([("event:view", "See the event log")])
subscribers.register(LiveHints())
