"""Reads of the quality app."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Case, Count, F, Func, IntegerField, JSONField, QuerySet, TextField, When
from django.db.models.expressions import RawSQL
from django.db.models.lookups import LessThanOrEqual

from apps.quality.choices import QuarantineStatus
from apps.quality.contracts import ColumnLineage, ReconciliationView, ReplayRow, ReplaySelection
from apps.quality.exceptions import (
    QuarantinedRowNotFound,
    ReconciliationNotFound,
    SelectionEmpty,
    SelectionMixed,
    SelectionTooLarge,
)
from apps.quality.models import WAITING, LineageEdge, QuarantinedRow, Reconciliation

REPLAY_MOST = 100_000
REPLAY_BATCH_ROWS = 5_000
SHOWN_BYTES = 64 * 1024

# The left side is spelled as the index is; the right side parses the words as the index did and opens the last one.
_MATCHES = (
    "to_tsvector('simple'::regconfig, COALESCE(search_text, '')) @@"
    " to_tsquery('simple', nullif(plainto_tsquery('simple', %s)::text, '') || ':*')"
)


class _Unnest(Func):
    function = "unnest"
    arity = 1
    output_field = TextField()
    set_returning = True


def filter_quarantine(
    *,
    run: UUID | None = None,
    flow: UUID | None = None,
    environment: UUID | None = None,
    status: str | None = None,
    waiting: bool = False,
    rule: str | None = None,
    replay_run: UUID | None = None,
    search: str = "",
) -> QuerySet[QuarantinedRow]:
    """Rejected rows within limits, newest first; every limit has an index."""
    limits = {
        "run_id": run, "flow_id": flow, "environment_id": environment, "status": status, "replay_run_id": replay_run
    }  # fmt: skip
    rows = QuarantinedRow.objects.filter(**{name: value for name, value in limits.items() if value is not None})
    if waiting:
        rows = rows.filter(status__in=WAITING)
    if rule:
        rows = rows.filter(rules__contains=[rule])
    return search_quarantine(rows, search).order_by("-id")


def show_bounded(rows: QuerySet[QuarantinedRow]) -> QuerySet[QuarantinedRow]:
    """The rows with `shown_payload` in place of `payload`: None for a payload too large for a list.

    The stored size is known without reading the value, so a page of rows with 10 MB fields stays small.
    """
    size = Func(F("payload"), function="pg_column_size", output_field=IntegerField())
    shown = Case(When(LessThanOrEqual(size, SHOWN_BYTES), then=F("payload")), default=None, output_field=JSONField())
    return rows.defer("payload", "search_text").annotate(shown_payload=shown)


def get_quarantined_row(row_id: UUID) -> QuarantinedRow:
    """One rejected row.

    Raises:
        QuarantinedRowNotFound: there is none.
    """
    row = QuarantinedRow.objects.defer("search_text").filter(pk=row_id).first()
    if row is None:
        raise QuarantinedRowNotFound(value=row_id)
    return row


def search_quarantine(rows: QuerySet[QuarantinedRow], term: str) -> QuerySet[QuarantinedRow]:
    """Rows with a value that contains every word of `term`; the last word may be the beginning of one."""
    words = term.strip()
    if not words:
        return rows
    return rows.filter(RawSQL(_MATCHES, [words], output_field=BooleanField()))  # noqa: S611 - words are a parameter


def summarise_quarantine(rows: QuerySet[QuarantinedRow]) -> dict[str, Any]:
    """Counts of the given rows by broken rule and by status.

    Returns:
        {by_rule: [{rule, count}], by_status: {status: count}, total}; a row with two broken rules counts under both.
    """
    plain = rows.order_by()
    by_rule = (
        plain.annotate(rule=_Unnest(F("rules")))
        .values("rule")
        .annotate(count=Count("id"))
        .order_by("-count", "rule")[:200]
    )
    by_status = dict.fromkeys(QuarantineStatus.values, 0)
    for entry in plain.values("status").annotate(count=Count("id")):
        by_status[entry["status"]] = entry["count"]
    return {
        "by_rule": [{"rule": entry["rule"], "count": entry["count"]} for entry in by_rule],
        "by_status": by_status,
        "total": sum(by_status.values()),
    }


def count_open() -> int:
    """Rows that wait for somebody, in the whole tenant."""
    return QuarantinedRow.objects.filter(status__in=WAITING).count()


def select_for_replay(
    *,
    ids: Sequence[UUID] | None = None,
    run_id: UUID | None = None,
    flow_id: UUID | None = None,
    environment_id: UUID | None = None,
) -> ReplaySelection:
    """Waiting rows to be tried again: those given, or all of a run or flow.

    Args:
        ids: rows; every one must exist, decided ones are left out.
        run_id, flow_id, environment_id: further limits.

    Returns:
        At most `REPLAY_MOST` rows of one flow in one environment, oldest first.

    Raises:
        QuarantinedRowNotFound: one of `ids` does not exist.
        SelectionEmpty, SelectionMixed, SelectionTooLarge: see their messages.
    """
    if ids is None and run_id is None and flow_id is None:
        raise SelectionEmpty("Name the rows, the run or the flow.")
    rows = QuarantinedRow.objects.all()
    if ids is not None:
        wanted = set(ids)
        rows = rows.filter(pk__in=wanted)
        missing = wanted - set(rows.values_list("pk", flat=True))
        if missing:
            raise QuarantinedRowNotFound(field="ids", value=sorted(missing)[0])
    limits = {"run_id": run_id, "flow_id": flow_id, "environment_id": environment_id}
    rows = rows.filter(status__in=WAITING, **{name: value for name, value in limits.items() if value is not None})
    found = list(rows.order_by("pk").values_list("pk", "flow_id", "environment_id")[: REPLAY_MOST + 1])
    if not found:
        raise SelectionEmpty()
    if len(found) > REPLAY_MOST:
        raise SelectionTooLarge(f"At most {REPLAY_MOST} rows can be replayed at once.", remedy="Replay run by run.")
    places = {(flow, environment) for _, flow, environment in found}
    if len(places) > 1:
        raise SelectionMixed(flows=len({flow for flow, _ in places}))
    ((flow, environment),) = places
    return ReplaySelection(flow_id=flow, environment_id=environment, ids=tuple(pk for pk, _, _ in found))


def iter_replay_rows(run_id: UUID, *, batch_rows: int = REPLAY_BATCH_ROWS) -> Iterator[list[ReplayRow]]:
    """Rows that a replaying run was handed, corrections applied, in a fixed order.

    Args:
        run_id: the replaying run.
        batch_rows: rows a batch; memory is bounded by one.
    """
    last: UUID | None = None
    while True:
        rows = QuarantinedRow.objects.filter(replay_run_id=run_id).order_by("pk")
        if last is not None:
            rows = rows.filter(pk__gt=last)
        batch = list(rows.only("pk", "row_id", "payload", "corrected", "source_position")[:batch_rows])
        if not batch:
            return
        last = batch[-1].pk
        yield [
            ReplayRow(
                id=row.pk,
                row_id=row.row_id,
                values={**row.payload, **(row.corrected or {})},
                source_position=row.source_position,
            )
            for row in batch
        ]


def find_reconciliation(run_id: UUID) -> ReconciliationView | None:
    """The reconciliation of a run, or None while there is none."""
    row = Reconciliation.objects.filter(run_id=run_id).first()
    return None if row is None else to_reconciliation(row)


def filter_reconciliations(
    *, run: UUID | None = None, flow: UUID | None = None, status: str | None = None
) -> QuerySet[Reconciliation]:
    """Reconciliations within limits, newest first."""
    limits = {"run_id": run, "flow_id": flow, "status": status}
    return Reconciliation.objects.filter(
        **{name: value for name, value in limits.items() if value is not None}
    ).order_by("-id")


def get_reconciliation_row(reconciliation_id: UUID) -> Reconciliation:
    """One reconciliation as a table row.

    Raises:
        ReconciliationNotFound: there is none.
    """
    row = Reconciliation.objects.filter(pk=reconciliation_id).first()
    if row is None:
        raise ReconciliationNotFound(value=reconciliation_id)
    return row


def to_reconciliation(row: Reconciliation) -> ReconciliationView:
    """A table row as plain data."""
    return ReconciliationView(**{name: getattr(row, name) for name in ReconciliationView.__dataclass_fields__})


def list_lineage(flow_version_id: UUID) -> list[ColumnLineage]:
    """Where each target column of a published version comes from, by target column."""
    found: dict[str, ColumnLineage] = {}
    for edge in LineageEdge.objects.filter(flow_version_id=flow_version_id).order_by("target_column", "source_column"):
        known = found.get(edge.target_column)
        columns = (*known.source_columns, edge.source_column) if known else (edge.source_column,)
        found[edge.target_column] = ColumnLineage(
            target_column=edge.target_column,
            source_columns=tuple(column for column in columns if column),
            expression=edge.expression,
            identity=edge.identity,
        )
    return list(found.values())
