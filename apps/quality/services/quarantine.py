"""What people decide about rejected rows: correct, discard; and what a replay does with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Value, When

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.core.exceptions import Problem
from apps.core.services.hints import send_hint
from apps.events.services.outbox import publish_event
from apps.quality.choices import QuarantineStatus
from apps.quality.contracts import BrokenRule, ReplaySelection
from apps.quality.events import QUARANTINE_DECIDED, QuarantineDecided
from apps.quality.exceptions import (
    CorrectionFieldUnknown,
    CorrectionInvalid,
    QuarantinedRowDecided,
    QuarantinedRowNotFound,
    ReasonRequired,
    SelectionEmpty,
    SelectionTooLarge,
)
from apps.quality.models import WAITING, QuarantinedRow
from apps.quality.registries import row_checkers
from apps.quality.services.payloads import to_exact
from apps.tenancy.services.context import require_tenant

DISCARD_MOST = 1000


@transaction.atomic
def correct_row(row_id: UUID, corrected: Mapping[str, Any], *, actor: Actor, note: str = "") -> QuarantinedRow:
    """Change source values of a rejected row so that it can be replayed.

    The row is checked against the rules that hold now: it is stored only when it breaks none.

    Args:
        row_id: id of the quarantined row.
        corrected: {source column: JSON value}, changed columns only; an empty object takes the correction back.
        actor: needs `quarantine:edit`.
        note: why.

    Raises:
        QuarantinedRowNotFound: no such row.
        QuarantinedRowDecided: it was replayed or discarded already.
        CorrectionFieldUnknown: a column that the row does not have.
        CorrectionInvalid: rules are still broken; one problem per rule.
    """
    check_permission(actor, "quarantine:edit")
    row: QuarantinedRow | None = QuarantinedRow.objects.select_for_update().filter(pk=row_id).first()
    if row is None:
        raise QuarantinedRowNotFound(value=row_id)
    if row.status not in WAITING:
        raise QuarantinedRowDecided(f"The row was {row.status} already.", value=row_id)
    changes = {name: to_exact(value) for name, value in corrected.items()}
    for name in changes:
        if name not in row.payload:
            raise CorrectionFieldUnknown(
                f"The row has no source column {name!r}.", field=f"corrected.{name}", value=name
            )
    changes = {name: value for name, value in changes.items() if value != row.payload[name]}
    if changes:
        _ensure_fits(row, changes)
    row.corrected = changes or None
    row.status = QuarantineStatus.CORRECTED if changes else QuarantineStatus.OPEN
    row.note = note
    row.decided_by, row.decided_by_name, row.decided_at = actor.id, actor.name, now()
    row.save(update_fields=["corrected", "status", "note", "decided_by", "decided_by_name", "decided_at", "updated_at"])
    record_audit(
        actor=actor,
        action="quarantine.row_corrected" if changes else "quarantine.correction_withdrawn",
        target_type="quarantined_row",
        target_id=row.pk,
        summary=f"Corrected {', '.join(sorted(changes)) or 'nothing'} of row {row.row_id}.",
        facts={"run_id": str(row.run_id), "columns": sorted(changes), "note": note},
    )
    _hint(row.run_id, row.flow_id)
    return row


@transaction.atomic
def discard_rows(ids: Collection[UUID], reason: str, *, actor: Actor) -> int:
    """Give rejected rows up for good; they stay in the record with the reason.

    Args:
        ids: at most `DISCARD_MOST` rows; those decided already are refused together with the rest.
        reason: required.
        actor: needs `quarantine:edit`.

    Returns:
        Rows discarded.

    Raises:
        QuarantinedRowNotFound, QuarantinedRowDecided: one of the rows is not there or not waiting; nothing is changed.
    """
    check_permission(actor, "quarantine:edit")
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        raise SelectionEmpty(field="ids")
    if len(wanted) > DISCARD_MOST:
        raise SelectionTooLarge(f"At most {DISCARD_MOST} rows can be discarded at once.", field="ids")
    if not reason.strip():
        raise ReasonRequired(field="reason")
    rows = list(QuarantinedRow.objects.select_for_update().filter(pk__in=wanted).order_by("pk"))
    missing = set(wanted) - {row.pk for row in rows}
    if missing:
        raise QuarantinedRowNotFound(field="ids", value=sorted(missing)[0])
    for row in rows:
        if row.status not in WAITING:
            raise QuarantinedRowDecided(f"Row {row.row_id} was {row.status} already.", field="ids", value=row.pk)
    count: int = QuarantinedRow.objects.filter(pk__in=wanted).update(
        status=QuarantineStatus.DISCARDED,
        note=reason.strip(),
        decided_by=actor.id,
        decided_by_name=actor.name,
        decided_at=now(),
        updated_at=now(),
    )
    runs = sorted({row.run_id for row in rows})
    record_audit(
        actor=actor,
        action="quarantine.rows_discarded",
        target_type="run",
        target_id=runs[0],
        summary=f"Discarded {count} quarantined rows: {reason.strip()}",
        facts={"ids": [str(one) for one in wanted], "runs": [str(one) for one in runs], "reason": reason.strip()},
    )
    for flow_id, discarded in Counter(row.flow_id for row in rows).items():
        publish_event(
            QUARANTINE_DECIDED,
            subject=f"flow/{flow_id}",
            key=str(flow_id),
            data=QuarantineDecided(flow_id=flow_id, decision="discarded", rows=discarded, by=actor.name),
        )
    for row in {row.run_id: row for row in rows}.values():
        _hint(row.run_id, row.flow_id)
    return count


@transaction.atomic
def mark_replayed(selection: ReplaySelection, *, run_id: UUID, actor: Actor) -> int:
    """Hand the selected rows over to a run; call it in the transaction that starts the run.

    A row that was decided in the meantime is left out, so two replays never take the same row. Call
    `release_replayed` when the run ends without having loaded them.

    Args:
        selection: from `selectors.select_for_replay`.
        run_id: run that tries the rows again.
        actor: needs `quarantine:edit`.

    Returns:
        Rows handed over.

    Raises:
        SelectionEmpty: none is left.
    """
    check_permission(actor, "quarantine:edit")
    count: int = QuarantinedRow.objects.filter(
        pk__in=selection.ids, flow_id=selection.flow_id, environment_id=selection.environment_id, status__in=WAITING
    ).update(
        status=QuarantineStatus.REPLAYED,
        replay_run_id=run_id,
        decided_by=actor.id,
        decided_by_name=actor.name,
        decided_at=now(),
        updated_at=now(),
    )
    if not count:
        raise SelectionEmpty()
    record_audit(
        actor=actor,
        action="quarantine.rows_replayed",
        target_type="run",
        target_id=run_id,
        summary=f"Handed {count} quarantined rows over to run {run_id}.",
        facts={"flow_id": str(selection.flow_id), "rows": count},
    )
    _hint(run_id, selection.flow_id)
    return count


@transaction.atomic
def release_replayed(run_id: UUID) -> int:
    """Take back the rows of a replay that failed or was cancelled: they wait again, corrections kept.

    Returns:
        Rows released; 0 when called again.
    """
    rows = QuarantinedRow.objects.filter(replay_run_id=run_id, status=QuarantineStatus.REPLAYED)
    flow_id = rows.values_list("flow_id", flat=True).first()
    if flow_id is None:
        return 0
    count: int = rows.update(
        status=Case(
            When(corrected__isnull=False, then=Value(QuarantineStatus.CORRECTED.value)),
            default=Value(QuarantineStatus.OPEN.value),
        ),
        replay_run_id=None,
        updated_at=now(),
    )
    _hint(run_id, flow_id)
    return count


def _ensure_fits(row: QuarantinedRow, changes: Mapping[str, Any]) -> None:
    broken = _broken_rules(row, {**row.payload, **changes})
    if broken:
        raise CorrectionInvalid(
            f"{broken[0].message}" if len(broken) == 1 else f"{len(broken)} rules are still broken.",
            field=f"corrected.{broken[0].field}" if broken[0].field in changes else None,
            problems=[
                Problem(
                    path=f"corrected.{rule.field}" if rule.field else "corrected", code=rule.code, message=rule.message
                )
                for rule in broken
            ],
        )


def _broken_rules(row: QuarantinedRow, values: Mapping[str, Any]) -> list[BrokenRule]:
    for checker in row_checkers.all():
        found = checker.check_row(
            flow_id=row.flow_id,
            flow_version_id=row.flow_version_id,
            environment_id=row.environment_id,
            values=values,
        )
        if found is not None:
            return list(found)
    return []


def _hint(run_id: UUID, flow_id: UUID) -> None:
    send_hint(require_tenant().id, "quarantine", run_id, flow=str(flow_id))
