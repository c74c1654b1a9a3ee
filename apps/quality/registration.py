"""What quality tells the registries at start-up."""

from __future__ import annotations

from apps.access.registries import register_permissions
from apps.events.contracts import EventType, LiveKind
from apps.events.registries import event_types, live_kinds
from apps.quality.events import (
    QUARANTINE_DECIDED,
    RECONCILIATION_RECORDED,
    RECONCILIATION_SIGNED,
    QuarantineDecided,
    ReconciliationRecorded,
    ReconciliationSigned,
)

register_permissions(
    [
        ("quarantine:view", "See rejected rows"),
        ("quarantine:edit", "Correct, replay and discard rejected rows"),
        ("reconciliation:view", "See reconciliations"),
        ("reconciliation:sign", "Sign reconciliations of runs started by others"),
    ]
)
event_types.register(EventType(QUARANTINE_DECIDED, QuarantineDecided, "Rejected rows were given up."))
event_types.register(EventType(RECONCILIATION_RECORDED, ReconciliationRecorded, "A load was compared with its source."))
event_types.register(EventType(RECONCILIATION_SIGNED, ReconciliationSigned, "A person accepted a load."))
live_kinds.register(LiveKind("quarantine", "quarantine:view", plural="quarantines"))
live_kinds.register(LiveKind("reconciliation", "reconciliation:view"))
