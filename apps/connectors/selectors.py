"""Reads of the connectors app. What leaves the app is a frozen `contracts.Connection`, never a row."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.connectors import models
from apps.connectors.contracts import Connection
from apps.connectors.exceptions import CaptureNotFound, ConnectionNotFound


def to_connection(row: models.Connection) -> Connection:
    """A row as other apps see it."""
    return Connection(
        id=row.id,
        name=row.name,
        slug=row.slug,
        connector=row.connector,
        config=dict(row.config),
        status=row.status,
        builtin=row.builtin,
        last_check=row.last_check,
        last_checked_at=row.last_checked_at,
        archived_at=row.archived_at,
    )


def get_connection_row(connection_id: UUID) -> models.Connection:
    """The row with its circuit breaker, archived or not.

    Raises:
        ConnectionNotFound: this tenant has none with that id.
    """
    row = models.Connection.objects.select_related("breaker").filter(id=connection_id).first()
    if row is None:
        raise ConnectionNotFound(value=connection_id)
    return row


def get_connection(connection_id: UUID) -> Connection:
    """The connection, archived or not.

    Raises:
        ConnectionNotFound: this tenant has none with that id.
    """
    return to_connection(get_connection_row(connection_id))


def find_connection(connection_id: UUID) -> Connection | None:
    """The connection, archived or not, or None."""
    row = models.Connection.objects.filter(id=connection_id).first()
    return None if row is None else to_connection(row)


def find_connection_by_slug(slug: str) -> Connection | None:
    """The connection in use under that slug, or None."""
    row = models.Connection.objects.filter(slug=slug, archived_at=None).first()
    return None if row is None else to_connection(row)


def list_connections_by_id(connection_ids: Sequence[UUID]) -> list[Connection]:
    """Those of the given connections that exist, archived ones included, in one query."""
    return [to_connection(row) for row in models.Connection.objects.filter(id__in=connection_ids)]


def filter_connections(
    *, search: str = "", status: str = "", connector: str = "", archived: bool = False
) -> QuerySet[models.Connection]:
    """Connections of the tenant within the given limits, newest first when paged."""
    found = models.Connection.objects.select_related("breaker").filter(archived_at__isnull=not archived)
    if search:
        found = found.filter(Q(name__icontains=search) | Q(slug__icontains=search))
    if status:
        found = found.filter(status=status)
    if connector:
        found = found.filter(connector=connector)
    return found


def count_connections() -> int:
    """Connections in use."""
    return models.Connection.objects.filter(archived_at=None).count()


def list_failing_connections(limit: int) -> list[Connection]:
    """Connections whose last check failed, latest failure first."""
    rows = models.Connection.objects.filter(archived_at=None, status="failing").order_by("-last_checked_at")[:limit]
    return [to_connection(row) for row in rows]


def filter_captures() -> QuerySet[models.ChangeCapture]:
    """Change captures of the tenant with their connections."""
    return models.ChangeCapture.objects.select_related("connection")


def get_capture_row(capture_id: UUID) -> models.ChangeCapture:
    """The change capture.

    Raises:
        CaptureNotFound: this tenant has none with that id.
    """
    row = filter_captures().filter(id=capture_id).first()
    if row is None:
        raise CaptureNotFound(value=capture_id)
    return row
