"""The subscriber that turns events into live hints for browsers."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.db import transaction

from apps.core.clock import now
from apps.core.services.hint_sender import hint_sender
from apps.events.contracts import EventRecord, Subscriber
from apps.events.registries import event_types
from apps.tenancy.contracts import TenantRef

MAX_AGE = timedelta(seconds=60)


class LiveHints(Subscriber):
    """Sends one hint for each event whose type names the kind of object to re-read."""

    name = "events.live_hints"
    types = ("*",)
    ordered = False
    writes = False
    from_beginning = False

    def handle(self, tenant: TenantRef, event: EventRecord) -> None:
        """Send the hint when the visit commits; a hint older than a minute tells nobody anything."""
        event_type = event_types.find(event.type)
        if event_type is None or event_type.hint_kind is None or now() - event.time > MAX_AGE:
            return
        facts = {"event": event.type, **{name: event.data.get(name) for name in event_type.hint_facts}}
        transaction.on_commit(partial(hint_sender.send, tenant.id, event_type.hint_kind, event.subject_id, facts))
