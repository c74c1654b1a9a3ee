"""Writes of connections: create, change, archive, restore, check."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.connectors import events
from apps.connectors.choices import ConnectionStatus
from apps.connectors.contracts import CheckResult, CheckStep
from apps.connectors.exceptions import (
    ConfigInvalid,
    ConnectionInUse,
    ConnectionNotFound,
    ConnectionProtected,
    NameTaken,
    SecretsNeeded,
)
from apps.connectors.models import Connection
from apps.connectors.registries import connector_registry
from apps.connectors.services.breakers import forget_failures
from apps.connectors.services.sessions import CHECK, OWNER_TYPE, connect, open_connection
from apps.connectors.services.settings import ensure_config, ensure_required_secrets, ensure_secret_names
from apps.core.clock import now
from apps.core.exceptions import PortalError
from apps.core.services.hints import send_hint
from apps.events.services.outbox import publish_event
from apps.tenancy.services.context import require_tenant
from apps.vault.services.secrets import list_secret_names, reveal_secrets, store_secrets

WAREHOUSE_SLUG = "warehouse"
SLUG = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
MAX_NAME_CHARS = 120


@transaction.atomic
def create_connection(
    name: str,
    connector: str,
    *,
    config: Mapping[str, Any],
    secrets: Mapping[str, str | None] | None = None,
    slug: str | None = None,
    actor: Actor,
) -> Connection:
    """Configure a system.

    Args:
        name: shown name, unique among connections in use.
        connector: id of an installed connector.
        config: settings, checked against the connector's schema.
        secrets: credentials by name; go to the vault.
        slug: name for flows; made from `name` when absent.
        actor: needs `connection:edit`, and `secret:write` when credentials are given.

    Raises:
        PermissionDenied, UnknownType, ConfigInvalid, NameTaken.
    """
    check_permission(actor, "connection:edit")
    manifest = connector_registry.get(connector).manifest
    given = {field: value for field, value in (secrets or {}).items() if value}
    ensure_secret_names(manifest, given)
    ensure_required_secrets(manifest, set(given))
    row = Connection(
        name=_clean_name(name),
        slug=_clean_slug(slug) if slug else _free_slug(name),
        connector=connector,
        config=ensure_config(manifest, config),
        created_by=actor.id,
    )
    _save(row)
    if given:
        store_secrets(OWNER_TYPE, row.id, given, actor=actor)
    _tell(row, "created", actor, {"connector": connector, "slug": row.slug})
    publish_event(
        events.CONNECTION_CREATED,
        subject=f"connection/{row.id}",
        data=events.ConnectionCreated(row.id, row.name, connector, actor.name),
    )
    return row


@transaction.atomic
def update_connection(
    connection_id: UUID,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str | None] | None = None,
    actor: Actor,
) -> Connection:
    """Change a connection; what is left out stays. A changed system counts as unchecked until it is checked again.

    Args:
        secrets: credentials to replace; None as value deletes one; others stay.
        actor: needs `connection:edit`, and `secret:write` when credentials are given.

    Raises:
        PermissionDenied, ConnectionNotFound, ConnectionProtected, ConfigInvalid, NameTaken.
        SecretsNeeded: the system's address changed and stored credentials would go to the new one.
    """
    check_permission(actor, "connection:edit")
    row = _lock(connection_id)
    manifest = connector_registry.get(row.connector).manifest
    changed: list[str] = []
    if name is not None and _clean_name(name) != row.name:
        row.name = _clean_name(name)
        changed.append("name")
    if config is not None:
        complete = ensure_config(manifest, config)
        _check_target_kept(row, complete, secrets or {})
        moved = sorted(key for key in {*complete, *row.config} if complete.get(key) != row.config.get(key))
        changed += [f"config.{key}" for key in moved]
        row.config = complete
    if secrets:
        ensure_secret_names(manifest, secrets)
        left = set(list_secret_names(OWNER_TYPE, row.id))
        left = (left | {field for field, value in secrets.items() if value}) - {
            field for field, value in secrets.items() if not value
        }
        ensure_required_secrets(manifest, left)
        store_secrets(OWNER_TYPE, row.id, {field: value or None for field, value in secrets.items()}, actor=actor)
        changed += [f"secrets.{field}" for field in sorted(secrets)]
    if not changed:
        return row
    if any(field != "name" for field in changed):
        row.status, row.last_check = ConnectionStatus.NEW, None
        forget_failures(row.id, actor=actor)
    _save(row)
    _tell(row, "updated", actor, {"changed": changed})
    publish_event(
        events.CONNECTION_UPDATED,
        subject=f"connection/{row.id}",
        data=events.ConnectionUpdated(row.id, row.name, changed, actor.name),
    )
    return row


@transaction.atomic
def archive_connection(connection_id: UUID, *, actor: Actor) -> Connection:
    """Take a connection out of use. Its credentials stay, so that `restore_connection` works.

    Raises:
        PermissionDenied, ConnectionNotFound, ConnectionProtected.
        ConnectionInUse: change captures read through it.
    """
    check_permission(actor, "connection:edit")
    row = _lock(connection_id)
    captures = list(row.captures.order_by("name").values_list("name", flat=True))
    if captures:
        raise ConnectionInUse(f"{row.name!r} is used by the change capture {', '.join(captures)}.", value=row.slug)
    row.archived_at = now()
    row.save(update_fields=["archived_at", "updated_at"])
    _tell(row, "archived", actor, {})
    publish_event(
        events.CONNECTION_ARCHIVED,
        subject=f"connection/{row.id}",
        data=events.ConnectionArchived(row.id, row.name, actor.name),
    )
    return row


@transaction.atomic
def restore_connection(connection_id: UUID, *, actor: Actor) -> Connection:
    """Bring an archived connection back (the undo of `archive_connection`).

    Raises:
        PermissionDenied, ConnectionNotFound.
        NameTaken: another connection has its name or slug by now.
    """
    check_permission(actor, "connection:edit")
    row: Connection | None = Connection.objects.select_for_update().filter(id=connection_id).first()
    if row is None:
        raise ConnectionNotFound(value=connection_id)
    if row.archived_at is not None:
        row.archived_at = None
        _save(row)
        _tell(row, "restored", actor, {})
    return row


def check_connection(connection_id: UUID, *, actor: Actor) -> CheckResult:
    """Try a saved connection step by step and remember the outcome. The network is used outside any transaction.

    Raises:
        PermissionDenied, ConnectionNotFound.
    """
    check_permission(actor, "connection:use")
    before = Connection.objects.filter(id=connection_id, archived_at=None).first()
    if before is None:
        raise ConnectionNotFound(value=connection_id)
    result = _try(lambda: open_connection(connection_id, CHECK))
    with transaction.atomic():
        row = Connection.objects.select_for_update().get(id=connection_id)
        if row.config != before.config:
            return result
        status = ConnectionStatus.OK if result.ok else ConnectionStatus.FAILING
        turned = row.status != status
        row.status, row.last_check, row.last_checked_at = status, result.to_json(), now()
        row.save(update_fields=["status", "last_check", "last_checked_at", "updated_at"])
        send_hint(require_tenant().id, "connection", row.id, status=str(status))
        if turned:
            publish_event(
                events.CONNECTION_CHECKED,
                subject=f"connection/{row.id}",
                data=events.ConnectionChecked(row.id, row.name, result.ok, result.code),
            )
    return result


def check_draft(
    connector: str,
    *,
    config: Mapping[str, Any],
    secrets: Mapping[str, str | None] | None = None,
    connection_id: UUID | None = None,
    actor: Actor,
) -> CheckResult:
    """Try settings that are not saved.

    Args:
        connection_id: a saved connection whose stored credentials stand in for those left out; only when the
            settings still name the same target, so that stored credentials cannot be sent elsewhere.
        actor: needs `connection:edit`.

    Raises:
        PermissionDenied, UnknownType, ConfigInvalid, ConnectionNotFound.
    """
    check_permission(actor, "connection:edit")
    manifest = connector_registry.get(connector).manifest
    complete = ensure_config(manifest, config)
    ensure_secret_names(manifest, secrets or {})
    known = {field: value for field, value in (secrets or {}).items() if value}
    if connection_id is not None:
        row = _get(connection_id)
        if row.connector == connector and _target(row.config) == _target(complete):
            known = {**reveal_secrets(OWNER_TYPE, row.id, purpose="connection.check"), **known}
    return _try(lambda: connect(connector, complete, known, purpose="check"))


def ensure_warehouse_connection() -> Connection:
    """The tenant's built-in connection to its own analytics schema; made once."""
    row: Connection
    row, _made = Connection.objects.get_or_create(
        slug=WAREHOUSE_SLUG,
        archived_at=None,
        defaults={"name": "Warehouse", "connector": "warehouse", "builtin": True, "status": ConnectionStatus.OK},
    )
    return row


TARGET_SETTINGS = ("host", "port", "base_url", "token_url", "endpoint_url", "url", "tls_mode")


def _target(config: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(config.get(name) for name in TARGET_SETTINGS)


def _check_target_kept(row: Connection, config: Mapping[str, Any], secrets: Mapping[str, str | None]) -> None:
    """Whoever may change an address could otherwise have stored credentials sent to a host of their own."""
    if _target(row.config) == _target(config):
        return
    left = sorted(set(list_secret_names(OWNER_TYPE, row.id)) - set(secrets))
    if left:
        raise SecretsNeeded(
            f"The address of {row.name!r} changed; enter again: {', '.join(left)}.", field=f"secrets.{left[0]}"
        )


def _try(open_: Any) -> CheckResult:
    try:
        with open_() as opened:
            checked: CheckResult = opened.check()
            return checked
    except PortalError as error:
        step = CheckStep("Connect", False, error.message)
        return CheckResult(False, (step,), error.code, error.message, error.remedy or "")


def _get(connection_id: UUID) -> Connection:
    row: Connection | None = Connection.objects.filter(id=connection_id, archived_at=None).first()
    if row is None:
        raise ConnectionNotFound(value=connection_id)
    return row


def _lock(connection_id: UUID) -> Connection:
    row: Connection | None = Connection.objects.select_for_update().filter(id=connection_id, archived_at=None).first()
    if row is None:
        raise ConnectionNotFound(value=connection_id)
    if row.builtin:
        raise ConnectionProtected(f"The connection {row.name!r} belongs to the portal.", value=row.slug)
    return row


def _save(row: Connection) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        field = "slug" if "slug" in str(error) else "name"
        raise NameTaken(f"Another connection has this {field}.", field=field, value=getattr(row, field)) from None


def _clean_name(name: str) -> str:
    cleaned = " ".join(name.split())
    if not cleaned or len(cleaned) > MAX_NAME_CHARS:
        raise ConfigInvalid(f"A name has 1 to {MAX_NAME_CHARS} characters.", field="name", value=name)
    return cleaned


def _clean_slug(slug: str) -> str:
    if not SLUG.match(slug):
        raise ConfigInvalid(
            "A slug starts with a letter and has small letters, digits, - and _.", field="slug", value=slug
        )
    return slug


def _free_slug(name: str) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:55] or "connection"
    stem = stem if stem[0].isalpha() else f"c-{stem}"
    taken = set(Connection.objects.filter(slug__startswith=stem, archived_at=None).values_list("slug", flat=True))
    number = 1
    slug = stem
    while slug in taken:
        number += 1
        slug = f"{stem}-{number}"
    return slug


def _tell(row: Connection, verb: str, actor: Actor, facts: dict[str, Any]) -> None:
    record_audit(
        actor=actor,
        action=f"connection.{verb}",
        target_type="connection",
        target_id=row.id,
        summary=f"Connection {row.name} was {verb}",
        facts=facts,
    )
    send_hint(require_tenant().id, "connection", row.id)
