"""What the systems at both ends look like: schemas through connectors, remembered for a short while."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.core.cache import cache

from apps.connectors.contracts import Capabilities, EntitySchema
from apps.connectors.exceptions import EntityGone
from apps.connectors.registries import connector_registry
from apps.connectors.selectors import find_connection
from apps.connectors.services.sessions import open_connection
from apps.core.exceptions import PortalError
from apps.expressions.contracts import Field, Schema
from apps.integrations.contracts import FlowDefinition
from apps.quality.contracts import DataContract

log = structlog.get_logger(__name__)

FRESH_S = 60
FAILED_S = 10
REMEMBERED_S = 7 * 24 * 3600
VARIABLES_COLUMN = "var"


@dataclass(frozen=True)
class Fault:
    """Why an entity could not be described."""

    code: str
    message: str
    remedy: str | None
    gone: bool = False


@dataclass(frozen=True)
class Described:
    """What is known about an entity.

    Attributes:
        entity: its schema, None when nothing is known.
        origin: `live` (asked within the last minute), `cached` (asked before) or `unknown`.
        fault: why it could not be asked now.
    """

    entity: EntitySchema | None
    origin: str
    fault: Fault | None = None


def describe_entity(connection_id: UUID, entity: str, *, live: bool) -> Described:
    """Schema of an entity.

    Args:
        connection_id: where it is.
        entity: its name.
        live: ask the system unless it was asked in the last `FRESH_S` seconds; False only remembers, and never waits
            for a foreign system.

    Returns:
        What is known; a system that does not answer is a fault in the result, not an exception.
    """
    digest = hashlib.sha256(f"{connection_id}|{entity}".encode()).hexdigest()[:40]
    fresh_key, known_key, fault_key = (f"integrations.{kind}.{digest}" for kind in ("fresh", "known", "fault"))
    found = cache.get_many([fresh_key, known_key, fault_key])
    if fresh_key in found:
        return Described(found[fresh_key], "live")
    known: EntitySchema | None = found.get(known_key)
    if not live:
        return Described(known, "cached" if known else "unknown")
    fault: Fault | None = found.get(fault_key)
    if fault is None:
        try:
            with open_connection(connection_id, "design") as connector:
                schema = connector.describe(entity)
        except PortalError as error:
            fault = Fault(error.code, error.message, error.remedy, gone=isinstance(error, EntityGone))
            log.info("entity_not_described", connection_id=str(connection_id), entity=entity, code=error.code)
            cache.set(fault_key, fault, FAILED_S)
        else:
            cache.set(fresh_key, schema, FRESH_S)
            cache.set(known_key, schema, REMEMBERED_S)
            return Described(schema, "live")
    if fault.gone:
        cache.delete(known_key)
        return Described(None, "unknown", fault)
    return Described(known, "cached" if known else "unknown", fault)


def find_capabilities(connection_id: UUID) -> Capabilities | None:
    """What the connector of a connection can do; None when the connection or its connector is gone."""
    connection = find_connection(connection_id)
    if connection is None:
        return None
    connector = connector_registry.find(connection.connector)
    return None if connector is None else connector.manifest.capabilities


def schema_of_entity(entity: EntitySchema) -> Schema:
    """An entity's columns as expressions see them."""
    return Schema(tuple(Field(item.name, item.type, item.nullable) for item in entity.fields))


def schema_of_contract(contract: DataContract) -> Schema:
    """The agreed columns as expressions see them; any may be NULL."""
    return Schema(tuple(Field(item.name, item.type) for item in contract.fields))


def with_variables(schema: Schema, definition: FlowDefinition) -> Schema:
    """The schema with the declared variables as the struct column `var` of VARCHAR fields."""
    if not definition.variables:
        return schema
    inner = ", ".join(f'"{name}" VARCHAR' for name in definition.variables)
    return Schema((*schema.fields, Field(VARIABLES_COLUMN, f"STRUCT({inner})", nullable=False)))
