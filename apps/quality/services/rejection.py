"""Rejected rows on their way into the quarantine: many at once, exact, and safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from django.db import connection, transaction
from psycopg.errors import UniqueViolation

from apps.core.clock import now
from apps.core.ids import uuid7
from apps.core.services.hints import send_hint
from apps.quality.choices import QuarantineStatus
from apps.quality.contracts import BrokenRule, QuarantineContext, RejectedRow
from apps.quality.models import QuarantinedRow
from apps.quality.services.payloads import encode_payload
from apps.tenancy.services.context import require_tenant

CHUNK_ROWS = 10_000
RULE_CHARS = 100
POSITION_CHARS = 500

_COLUMNS = (
    "id, created_at, updated_at, run_id, flow_id, flow_version_id, environment_id, part, row_id, source_position,"
    " payload, errors, rules, search_text, status, decided_by_name, note"
)
_TABLE = QuarantinedRow._meta.db_table
_INSERT = (
    f"INSERT INTO {_TABLE} ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '', '')"
    " ON CONFLICT (run_id, row_id) DO NOTHING"
)


def quarantine_rows_bulk(context: QuarantineContext, rows: Iterable[RejectedRow]) -> int:
    """Keep rejected rows; 100,000 take a few seconds.

    A row that is there already (same run and `row_id`) is kept as it is, so a repeated call changes nothing. To repeat
    a part whose rows may have other ids, call `reset_part` first.

    Args:
        context: run, flow, version, environment and part that reject the rows.
        rows: consumed in chunks of `CHUNK_ROWS`; never held as a whole.

    Returns:
        Rows added.
    """
    added = 0
    with transaction.atomic():
        source = iter(rows)
        while chunk := list(islice(source, CHUNK_ROWS)):
            added += _write(list(_records(context, chunk)))
        if added:
            send_hint(require_tenant().id, "quarantine", context.run_id, flow=str(context.flow_id), added=added)
    return added


def reset_part(context: QuarantineContext) -> int:
    """Forget the rows of one part of a run that nobody has touched, before the part is done again.

    Returns:
        Rows removed.
    """
    removed, _ = QuarantinedRow.objects.filter(
        run_id=context.run_id, part=context.part, status=QuarantineStatus.OPEN
    ).delete()
    return removed


def _records(context: QuarantineContext, rows: Sequence[RejectedRow]) -> Iterator[tuple[object, ...]]:
    at = now()
    fixed = (context.run_id, context.flow_id, context.flow_version_id, context.environment_id, context.part)
    for row in rows:
        payload, search_text = encode_payload(row.payload)
        rules = list(dict.fromkeys(error.rule[:RULE_CHARS] for error in row.errors))
        yield (
            uuid7(),
            at,
            at,
            *fixed,
            row.row_id,
            _clean(row.source_position)[:POSITION_CHARS],
            payload,
            _errors_text(row.errors),
            rules,
            search_text,
            QuarantineStatus.OPEN.value,
        )


def _errors_text(errors: Sequence[BrokenRule]) -> str:
    return json.dumps([error.to_json() for error in errors], ensure_ascii=True).replace("\\u0000", "\u2400")


def _clean(text: str) -> str:
    return text.replace("\x00", "\u2400")


def _write(records: list[tuple[object, ...]]) -> int:
    # COPY is several times faster than INSERT but knows no ON CONFLICT; a repeated row is rare, so it pays to try first.
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            with cursor.copy(f"COPY {_TABLE} ({_COLUMNS}) FROM STDIN") as copy:
                for record in records:
                    copy.write_row((*record, "", ""))
    except UniqueViolation:
        return _insert(records)
    except Exception as error:  # Django wraps the driver's error only when it passes through its own cursor.
        if isinstance(error.__cause__, UniqueViolation):
            return _insert(records)
        raise
    return len(records)


def _insert(records: list[tuple[object, ...]]) -> int:
    added = 0
    with connection.cursor() as cursor:
        for record in records:
            cursor.execute(_INSERT, record)
            added += cursor.rowcount
    return added
