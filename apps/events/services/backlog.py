"""How far the relay is behind, over all tenants."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from apps.events.choices import ParkedStatus
from apps.tenancy.models import Tenant
from apps.tenancy.services.surveys import survey_tenants


@dataclass(frozen=True)
class Backlog:
    """What waits in the event bus.

    Attributes:
        oldest_s: age of the oldest event that has no number yet, seconds; 0 when none waits.
        undelivered: events that subscribers have still to be shown, summed over subscribers.
        dead: parked events that wait for a person.
    """

    oldest_s: float
    undelivered: int
    dead: int


def list_tenants_with_backlog() -> list[UUID]:
    """Ids of served tenants with unnumbered events."""

    def question(tenant: Tenant) -> sql.Composable:
        return sql.SQL("SELECT {id}::uuid WHERE EXISTS (SELECT 1 FROM {table} WHERE position IS NULL)").format(
            id=sql.Literal(str(tenant.id)), table=sql.Identifier(tenant.schema_name, "events_event")
        )

    return [row[0] for row in survey_tenants(question)]


def list_subscribers_with_due_events() -> list[tuple[UUID, str]]:
    """(tenant's id, subscriber) where a parked event's time has come: of a retry, or because a person revived it."""

    def question(tenant: Tenant) -> sql.Composable:
        return sql.SQL(
            "SELECT {id}::uuid, reader.name FROM {reader} reader WHERE EXISTS (SELECT 1 FROM {parked} parked"
            " WHERE parked.subscription_id = reader.id AND parked.status = {waiting}"
            " AND parked.retry_at <= clock_timestamp())"
        ).format(
            id=sql.Literal(str(tenant.id)),
            reader=sql.Identifier(tenant.schema_name, "events_subscription"),
            parked=sql.Identifier(tenant.schema_name, "events_parkedevent"),
            waiting=sql.Literal(str(ParkedStatus.WAITING)),
        )

    return [(row[0], row[1]) for row in survey_tenants(question)]


def list_tenants_with_due_deliveries() -> list[UUID]:
    """Ids of served tenants with a delivery whose time has come."""

    def question(tenant: Tenant) -> sql.Composable:
        return sql.SQL(
            "SELECT {id}::uuid WHERE EXISTS (SELECT 1 FROM {table}"
            " WHERE status IN ('pending', 'delivering', 'failed') AND next_attempt_at <= clock_timestamp())"
        ).format(id=sql.Literal(str(tenant.id)), table=sql.Identifier(tenant.schema_name, "events_delivery"))

    return [row[0] for row in survey_tenants(question)]


def measure_backlog() -> Backlog:
    """The backlog of all served tenants together; reads a few index entries and small tables per tenant."""

    def question(tenant: Tenant) -> sql.Composable:
        return sql.SQL(
            "SELECT (SELECT extract(epoch FROM clock_timestamp() - min(time))::float8 FROM {event}"
            " WHERE position IS NULL),"
            " (SELECT sum(greatest(head.position - reader.position, 0)) FROM {reader} reader, {head} head)::bigint,"
            " (SELECT count(*) FROM {parked} WHERE status = {dead})"
        ).format(
            event=sql.Identifier(tenant.schema_name, "events_event"),
            reader=sql.Identifier(tenant.schema_name, "events_subscription"),
            head=sql.Identifier(tenant.schema_name, "events_streamhead"),
            parked=sql.Identifier(tenant.schema_name, "events_parkedevent"),
            dead=sql.Literal(str(ParkedStatus.DEAD)),
        )

    rows = survey_tenants(question)
    return Backlog(
        oldest_s=max((row[0] or 0.0 for row in rows), default=0.0),
        undelivered=sum(row[1] or 0 for row in rows),
        dead=sum(row[2] for row in rows),
    )
