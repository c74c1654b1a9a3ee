"""Addresses for other systems' webhooks: create, change, rotate the secret, archive."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.core.exceptions import Problem
from apps.core.ids import uuid7
from apps.events.choices import EndpointStatus, SignatureScheme
from apps.events.contracts import TYPE_PREFIX, to_full_type
from apps.events.events import WEBHOOK_RECEIVED
from apps.events.exceptions import EndpointInvalid, EndpointNotFound
from apps.events.models import InboundEndpoint
from apps.events.registries import event_types
from apps.events.services.inbound_limits import MAX_BURST, inbound_limits
from apps.events.services.inbound_schemes import check_scheme
from apps.events.services.signatures import make_secret
from apps.events.services.signing_keys import ENDPOINT, add_signing_key
from apps.vault.services.secrets import delete_secrets

EDIT = "webhook:edit"
MAX_ENDPOINTS = 200
MAX_OVERLAP = timedelta(days=7)
MAX_BYTES = 1024 * 1024
PUBLIC_ID_CHARS = 24
ALPHABET = string.ascii_lowercase + string.digits
TYPE = re.compile(r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*\.v[1-9][0-9]{0,3}\Z")
CHANGEABLE = ("name", "config", "event_type", "tolerance_s", "max_bytes", "rate_per_s", "burst", "status")


@transaction.atomic
def create_endpoint(
    name: str,
    *,
    scheme: str,
    event_type: str = WEBHOOK_RECEIVED.type,
    config: Mapping[str, Any] | None = None,
    secret: str | None = None,
    tolerance_s: int = 300,
    max_bytes: int = 256 * 1024,
    rate_per_s: int | None = None,
    burst: int | None = None,
    actor: Actor,
) -> tuple[InboundEndpoint, str | None]:
    """Take webhooks at a new address.

    Args:
        name: unique among the tenant's endpoints.
        scheme: how the sender signs (`SignatureScheme`).
        event_type: of the published events: `webhook.received.v1`, or a type of the tenant's own (`com.acme.paid.v1`).
        config: settings of the `hmac` scheme.
        secret: as the sender has it; made here when absent (Standard Webhooks and `hmac` only).
        tolerance_s: how far the signature's time may be away, 10 to 3,600.
        max_bytes: of the body, at most 1 MiB.
        rate_per_s, burst: webhooks a second, and at once after a rest; None is as installed. Each web process counts.
        actor: needs `webhook:edit` and `secret:write`.

    Returns:
        The row, and the secret if it was made here; it cannot be read again.
    """
    check_permission(actor, EDIT)
    if InboundEndpoint.objects.exclude(status=EndpointStatus.ARCHIVED).count() >= MAX_ENDPOINTS:
        raise EndpointInvalid(f"A tenant has at most {MAX_ENDPOINTS} webhook endpoints.", field="name")
    made = None
    if secret is None:
        if scheme not in {SignatureScheme.STANDARD, SignatureScheme.HMAC}:
            raise EndpointInvalid("Enter the secret that the sender shows.", field="secret")
        secret = made = make_secret()
    row = InboundEndpoint(
        id=uuid7(),
        name=name,
        public_id="".join(secrets.choice(ALPHABET) for _ in range(PUBLIC_ID_CHARS)),
        scheme=scheme,
        config=dict(config or {}),
        event_type=event_type,
        tolerance_s=tolerance_s,
        max_bytes=max_bytes,
        rate_per_s=rate_per_s,
        burst=burst,
    )
    _check(row, secret)
    add_signing_key(row, ENDPOINT, secret, overlap=timedelta(0), actor=actor)
    _save(row, new=True)
    _record(row, "created", f"Created webhook endpoint {row.name}", actor, {"scheme": scheme, "type": row.event_type})
    return row, made


@transaction.atomic
def update_endpoint(endpoint_id: UUID, *, actor: Actor, **changes: Any) -> InboundEndpoint:
    """Change name, config, event_type, tolerance_s, max_bytes, rate_per_s, burst, or the status (`active`, `paused`).

    It counts within `inbound_intake.ENDPOINT_CACHE_S`.
    """
    check_permission(actor, EDIT)
    row = _locked(endpoint_id)
    for name, value in changes.items():
        if name not in CHANGEABLE:
            raise TypeError(f"An endpoint has no setting {name!r}.")
        setattr(row, name, value)
    _check(row, None)
    _save(row)
    _record(row, "updated", f"Changed webhook endpoint {row.name}", actor, {"changed": sorted(changes)})
    return row


@transaction.atomic
def rotate_endpoint_secret(
    endpoint_id: UUID, *, secret: str | None = None, overlap: timedelta = timedelta(days=1), actor: Actor
) -> tuple[InboundEndpoint, str | None]:
    """Take webhooks that are signed with a new secret; the old one counts until the overlap ends.

    Returns:
        The row, and the secret if it was made here.
    """
    check_permission(actor, EDIT)
    row = _locked(endpoint_id)
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise EndpointInvalid("Secrets overlap for 0 to 7 days.", field="overlap_s")
    made = None
    if secret is None:
        if row.scheme not in {SignatureScheme.STANDARD, SignatureScheme.HMAC}:
            raise EndpointInvalid("Enter the secret that the sender shows.", field="secret")
        secret = made = make_secret()
    _check(row, secret)
    add_signing_key(row, ENDPOINT, secret, overlap=overlap, actor=actor)
    _save(row)
    _record(row, "rotated", f"Rotated the secret of webhook endpoint {row.name}", actor, {"s": overlap.total_seconds()})
    return row, made


@transaction.atomic
def archive_endpoint(endpoint_id: UUID, *, actor: Actor) -> None:
    """Take no more webhooks; the address is unknown from then on, what was received stays."""
    check_permission(actor, EDIT)
    row = _locked(endpoint_id)
    row.status, row.signing_keys = EndpointStatus.ARCHIVED, []
    row.secret_revision += 1
    delete_secrets(ENDPOINT, row.id, actor=actor)
    _save(row)
    _record(row, "archived", f"Archived webhook endpoint {row.name}", actor)


def _locked(endpoint_id: UUID) -> InboundEndpoint:
    rows = InboundEndpoint.objects.select_for_update().exclude(status=EndpointStatus.ARCHIVED)
    row: InboundEndpoint | None = rows.filter(id=endpoint_id).first()
    if row is None:
        raise EndpointNotFound(value=endpoint_id)
    return row


def _check(row: InboundEndpoint, secret: str | None) -> None:
    problems: list[Problem] = []
    row.name = row.name.strip()
    if not row.name or len(row.name) > 100 or not row.name.isprintable():
        problems.append(Problem("name", "events.name", "A name has 1 to 100 printable characters."))
    full = to_full_type(row.event_type) if event_types.find(to_full_type(row.event_type)) else row.event_type
    own = full.startswith(TYPE_PREFIX)
    if (own and full != WEBHOOK_RECEIVED.type) or len(full) > 150 or not TYPE.match(full):
        message = f"Use {WEBHOOK_RECEIVED.type}, or a type of your own such as com.example.invoice.paid.v1."
        problems.append(Problem("event_type", "events.event_type", message))
    row.event_type = full
    if not 10 <= row.tolerance_s <= 3600:
        problems.append(Problem("tolerance_s", "events.tolerance", "The tolerance is 10 to 3,600 seconds."))
    if not 1 <= row.max_bytes <= MAX_BYTES:
        problems.append(Problem("max_bytes", "events.max_bytes", f"A body has at most {MAX_BYTES} bytes."))
    most = inbound_limits().tenant_per_s
    if row.rate_per_s is not None and not 1 <= row.rate_per_s <= most:
        message = f"An endpoint takes 1 to {most:,} webhooks a second, as many as the organisation."
        problems.append(Problem("rate_per_s", "events.rate", message))
    if row.burst is not None and not 1 <= row.burst <= MAX_BURST:
        problems.append(Problem("burst", "events.burst", f"A burst is 1 to {MAX_BURST:,} webhooks."))
    if row.status not in (EndpointStatus.ACTIVE, EndpointStatus.PAUSED):
        problems.append(Problem("status", "events.status", "An endpoint is active or paused."))
    try:
        row.config = check_scheme(row.scheme, row.config, secret)
    except EndpointInvalid as error:
        problems += error.problems or [Problem(error.field or "scheme", error.code, error.message)]
    if problems:
        raise EndpointInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _save(row: InboundEndpoint, *, new: bool = False) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=new)
    except IntegrityError as error:
        if "events_inboundendpoint_name" not in str(error):
            raise
        problem = Problem("name", "events.name_taken", f"Another endpoint is called {row.name}.")
        raise EndpointInvalid(problem.message, field="name", problems=[problem]) from None


def _record(row: InboundEndpoint, verb: str, summary: str, actor: Actor, facts: dict[str, Any] | None = None) -> None:
    audit_sink.record(
        actor=actor,
        action=f"events.webhook_endpoint.{verb}",
        target_type="webhook_endpoint",
        target_id=row.id,
        summary=f"{summary}.",
        facts=facts,
    )
