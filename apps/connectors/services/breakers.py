"""Circuit breakers: a system that fails several times in a row is left alone, then asked by one probe at a time.

    closed ──threshold failures in a row──▶ open ──pause over, one caller──▶ half_open ──it answered──▶ closed
                                             ▲                                 │
                                             └── twice the pause ──it failed───┘

Only what says that the system is not there counts: no connection, no answer in time, an answer that it is overloaded.
A refusal (credentials, a missing table, a value) is an answer. Everything goes by the database's clock; a probe has a
number, and an overtaken one decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.connectors import events
from apps.connectors.choices import CircuitState
from apps.connectors.exceptions import CircuitInvalid, CircuitOpen, ConnectionNotFound
from apps.connectors.models import Breaker, Connection
from apps.core.exceptions import PortalError, Problem
from apps.core.services.hints import send_hint
from apps.events.services.outbox import publish_event
from apps.tenancy.services.context import require_tenant

PROBE = timedelta(seconds=60)
"""A probe that has said nothing for so long gives way to another."""
LOOK_AGAIN = timedelta(seconds=6)
"""When whoever meets a probe under way should ask again."""
LIMITS = {"threshold": (1, 100), "pause_s": (1, 3600), "longest_pause_s": (1, 86_400)}


@dataclass(frozen=True)
class Admission:
    """The right to call a system.

    Attributes:
        connection_id: the connection.
        probe: number of the probe that this call is; None when the circuit is closed.
        failed_before: the last call failed, so that an answer has something to clear.
    """

    connection_id: UUID
    probe: int | None = None
    failed_before: bool = False


def admit(row: Connection, *, force: bool = False) -> Admission:
    """Let a caller through, or say until when nobody is. Costs no query while the circuit is closed.

    Args:
        row: the connection, read with its breaker.
        force: a person asks: probe now, whatever the pause and other probes.

    Raises:
        CircuitOpen: the pause is not over, or a probe is under way.
    """
    breaker: Breaker | None = getattr(row, "breaker", None)
    if breaker is None or not breaker.enabled:
        return Admission(row.id)
    if breaker.state == CircuitState.CLOSED:
        return Admission(row.id, failed_before=breaker.failures > 0)
    due = Q(state=CircuitState.OPEN, next_probe_at__lte=Now())
    due |= Q(state=CircuitState.HALF_OPEN, probe_expires_at__lte=Now())
    if force:
        due |= ~Q(state=CircuitState.CLOSED)
    with transaction.atomic():
        taken = Breaker.objects.filter(due, connection_id=row.id).update(
            state=CircuitState.HALF_OPEN,
            probe_epoch=F("probe_epoch") + 1,
            probe_expires_at=Now() + PROBE,
            updated_at=Now(),
        )
        # After the update the row is ours until the commit, so the number is the one that was just drawn.
        found = Breaker.objects.annotate(db_now=Now()).get(connection_id=row.id)
    if taken:
        send_hint(require_tenant().id, "connection", row.id)
        return Admission(row.id, probe=found.probe_epoch)
    if found.state == CircuitState.CLOSED or not found.enabled:
        return Admission(row.id, failed_before=found.failures > 0)
    raise _refusal(row.name, found)


def readmit(connection_id: UUID) -> Admission:
    """As `admit`, for a caller that has reported a failure since it was let through.

    Raises:
        ConnectionNotFound, CircuitOpen: as named.
    """
    row = Connection.objects.select_related("breaker").filter(id=connection_id).first()
    if row is None:
        raise ConnectionNotFound(value=connection_id)
    return admit(row)


def record_answer(admission: Admission) -> None:
    """The system answered: a probe closes the circuit, and failures in a row begin anew."""
    if admission.probe is None:
        Breaker.objects.filter(connection_id=admission.connection_id, state=CircuitState.CLOSED, failures__gt=0).update(
            failures=0, updated_at=Now()
        )
        return
    with transaction.atomic():
        breaker = _lock(admission.connection_id)
        if _is_probe(breaker, admission):
            _close(breaker, by="")


def record_failure(admission: Admission, error: PortalError) -> None:
    """The system could not be reached, did not answer in time, or said that it is overloaded."""
    with transaction.atomic():
        Breaker.objects.get_or_create(connection_id=admission.connection_id)
        breaker = _lock(admission.connection_id)
        if not breaker.enabled:
            return
        at = breaker.db_now
        breaker.last_failure = {"code": error.code, "message": error.message, "remedy": error.remedy or ""}
        breaker.last_failure_at = at
        if breaker.state == CircuitState.CLOSED:
            breaker.failures += 1
            if breaker.failures >= breaker.threshold:
                _open(breaker, at)
        elif _is_probe(breaker, admission):
            # A person's probe before its time does not make the pause longer.
            if breaker.next_probe_at is not None and breaker.next_probe_at > at:
                breaker.state, breaker.probe_expires_at = CircuitState.OPEN, None
            else:
                _open(breaker, at)
            send_hint(require_tenant().id, "connection", breaker.connection_id)
        breaker.save()


def release_probe(admission: Admission) -> None:
    """A probe ended without having called: somebody else may probe at once."""
    Breaker.objects.filter(
        connection_id=admission.connection_id, state=CircuitState.HALF_OPEN, probe_epoch=admission.probe
    ).update(
        state=CircuitState.OPEN,
        next_probe_at=Greatest(F("next_probe_at"), Now()),
        probe_expires_at=None,
        updated_at=Now(),
    )


@transaction.atomic
def reset_breaker(connection_id: UUID, *, actor: Actor) -> None:
    """Close the circuit by hand; a closed one stays as it is.

    Args:
        connection_id: a connection in use.
        actor: needs `connection:control`.

    Raises:
        PermissionDenied, ConnectionNotFound: as named.
    """
    check_permission(actor, "connection:control")
    connection = _connection(connection_id)
    if not Breaker.objects.filter(connection_id=connection_id).exists():
        return
    breaker = _lock(connection_id)
    if breaker.state == CircuitState.CLOSED and not breaker.failures:
        return
    before = str(breaker.state)
    _close(breaker, by=actor.name)
    record_audit(
        actor=actor,
        action="connection.circuit_reset",
        target_type="connection",
        target_id=connection_id,
        summary=f"The circuit of connection {connection.name} was closed by hand",
        facts={"before": before},
    )


@transaction.atomic
def change_breaker(connection_id: UUID, *, actor: Actor, **changes: Any) -> None:
    """Change when a connection's circuit opens and how long it pauses; switched off, it closes and stays closed.

    Args:
        connection_id: a connection in use.
        actor: needs `connection:edit`.
        changes: of `enabled`, `threshold` (1 to 100), `pause_s` (1 to 3,600), `longest_pause_s` (1 to 86,400).

    Raises:
        PermissionDenied, ConnectionNotFound: as named.
        CircuitInvalid: one problem per setting.
    """
    check_permission(actor, "connection:edit")
    connection = _connection(connection_id)
    Breaker.objects.get_or_create(connection_id=connection_id)
    breaker = _lock(connection_id)
    problems = []
    for name, value in changes.items():
        least, most = LIMITS.get(name, (0, 1))
        if not least <= value <= most:
            problems.append(Problem(name, "connectors.circuit_setting", f"{name} is {least} to {most}."))
        setattr(breaker, name, value)
    if not problems and breaker.longest_pause_s < breaker.pause_s:
        message = f"The longest pause is at least the first one, {breaker.pause_s} s."
        problems.append(Problem("longest_pause_s", "connectors.circuit_setting", message))
    if problems:
        raise CircuitInvalid(problems[0].message, field=problems[0].path, problems=problems)
    if not breaker.enabled and breaker.state != CircuitState.CLOSED:
        _close(breaker, by=actor.name)
    breaker.save()
    record_audit(
        actor=actor,
        action="connection.circuit_changed",
        target_type="connection",
        target_id=connection_id,
        summary=f"The circuit breaker of connection {connection.name} was changed",
        facts={name: changes[name] for name in sorted(changes)},
    )
    send_hint(require_tenant().id, "connection", connection_id)


def forget_failures(connection_id: UUID, *, actor: Actor) -> None:
    """The connection now leads elsewhere or logs in otherwise: what failed before says nothing of it."""
    if Breaker.objects.filter(connection_id=connection_id).exists():
        breaker = _lock(connection_id)
        if breaker.state != CircuitState.CLOSED or breaker.failures:
            _close(breaker, by=actor.name)


def _connection(connection_id: UUID) -> Connection:
    row: Connection | None = Connection.objects.filter(id=connection_id, archived_at=None).first()
    if row is None:
        raise ConnectionNotFound(value=connection_id)
    return row


def _lock(connection_id: UUID) -> Any:
    """The breaker under its row lock, with the database's time as `db_now`."""
    return Breaker.objects.select_for_update().annotate(db_now=Now()).get(connection_id=connection_id)


def _is_probe(breaker: Breaker, admission: Admission) -> bool:
    return breaker.state == CircuitState.HALF_OPEN and breaker.probe_epoch == admission.probe


def _open(breaker: Breaker, at: datetime) -> None:
    first = breaker.state == CircuitState.CLOSED
    breaker.state, breaker.probe_expires_at = CircuitState.OPEN, None
    breaker.openings += 1
    breaker.next_probe_at = at + timedelta(seconds=pause_after(breaker))
    if first:
        breaker.opened_at = at
        name = Connection.objects.values_list("name", flat=True).get(id=breaker.connection_id)
        failure = breaker.last_failure or {}
        publish_event(
            events.CIRCUIT_OPENED,
            subject=f"connection/{breaker.connection_id}",
            data=events.CircuitOpened(
                breaker.connection_id,
                name,
                breaker.failures,
                failure.get("code", ""),
                failure.get("message", ""),
                breaker.next_probe_at,
            ),
        )
        send_hint(require_tenant().id, "connection", breaker.connection_id)


def pause_after(breaker: Breaker) -> int:
    """Seconds of the present pause: min(longest_pause_s, pause_s * 2**(openings - 1)); 30, 60, 120 … 900."""
    return int(min(breaker.longest_pause_s, breaker.pause_s * 2.0 ** min(breaker.openings - 1, 20)))


def _close(breaker: Breaker, *, by: str) -> None:
    opened_at = breaker.opened_at
    breaker.state, breaker.failures, breaker.openings = CircuitState.CLOSED, 0, 0
    breaker.opened_at = breaker.next_probe_at = breaker.probe_expires_at = None
    breaker.save()
    if opened_at is not None:
        name = Connection.objects.values_list("name", flat=True).get(id=breaker.connection_id)
        publish_event(
            events.CIRCUIT_CLOSED,
            subject=f"connection/{breaker.connection_id}",
            data=events.CircuitClosed(breaker.connection_id, name, opened_at, by),
        )
    send_hint(require_tenant().id, "connection", breaker.connection_id)


def _refusal(name: str, breaker: Any) -> CircuitOpen:
    until = breaker.next_probe_at or breaker.db_now
    if breaker.state == CircuitState.HALF_OPEN:
        until = min(breaker.probe_expires_at, breaker.db_now + LOOK_AGAIN)
    seconds = max(1, math.ceil((until - breaker.db_now).total_seconds()))
    why = (breaker.last_failure or {}).get("message", "")
    return CircuitOpen(
        f"{name} failed {breaker.failures} times in a row and is left alone until {until:%H:%M:%S} UTC. {why}".strip(),
        connection_id=breaker.connection_id,
        until=until,
        retry_after_s=seconds,
    )
