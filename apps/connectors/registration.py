"""What connectors tells the registries at start-up."""

from __future__ import annotations

from typing import Any

from apps.access.registries import register_permissions
from apps.connectors import events
from apps.connectors.registries import connector_registry
from apps.connectors.services.connections import ensure_warehouse_connection
from apps.connectors.services.manifests import load_catalog
from apps.events.contracts import EventType, LiveKind
from apps.events.registries import event_types, live_kinds
from apps.tenancy.contracts import ProvisioningInput
from apps.tenancy.registries import ProvisioningStep, provisioning_steps

register_permissions(
    [
        ("connection:view", "See connections and what they offer"),
        ("connection:edit", "Create, change and archive connections"),
        ("connection:use", "Test connections, look at sample rows, upload files"),
        ("connection:control", "Close the circuit of a connection by hand"),
        ("secret:write", "Store credentials"),
        ("capture:view", "See change captures and how they are"),
        ("capture:edit", "Create, pause, restart and delete change captures"),
    ]
)
for _type, _payload, _sentence in (
    (events.CONNECTION_CREATED, events.ConnectionCreated, "A connection was configured."),
    (events.CONNECTION_UPDATED, events.ConnectionUpdated, "A connection's settings or credentials changed."),
    (events.CONNECTION_CHECKED, events.ConnectionChecked, "A connection began to work or to fail."),
    (events.CONNECTION_ARCHIVED, events.ConnectionArchived, "A connection was taken out of use."),
    (events.ROW_CHANGED, events.RowChanged, "A row of a captured table was read, inserted, updated or deleted."),
    (events.CAPTURE_SCHEMA_CHANGED, events.CaptureSchemaChanged, "The structure of a captured table changed."),
    (events.CAPTURE_FAILED, events.CaptureFailed, "A change capture stopped and waits for a person."),
    (
        events.CAPTURE_ALARM,
        events.CaptureAlarm,
        "A change capture's slot became a danger to its source, or is well again.",
    ),
    (events.CIRCUIT_OPENED, events.CircuitOpened, "A connection's system failed several times and is left alone."),
    (events.CIRCUIT_CLOSED, events.CircuitClosed, "A connection's system is called again."),
):
    event_types.register(EventType(_type, _payload, _sentence))
live_kinds.register(LiveKind("connection", "connection:view"))
live_kinds.register(LiveKind("capture", "capture:view"))

for _connector_type in load_catalog():
    connector_registry.register(_connector_type)


def _make_warehouse(_tenant: Any, _given: ProvisioningInput) -> None:
    ensure_warehouse_connection()


provisioning_steps.register(ProvisioningStep("connectors.warehouse", 20, "Create the warehouse", _make_warehouse))
