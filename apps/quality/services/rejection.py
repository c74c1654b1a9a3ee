"""Rejected rows on their way into the quarantine: many at once, exact, and safe to repeat."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from django.db import connection, transaction
from psycopg.errors import UniqueViolation

from apps.core.clock import now
from apps.core.ids import uuid7
from apps.core.services.hints import send_hint
from apps.quality.choices import QuarantineStatus
from apps.quality.contracts import BrokenRule, QuarantineContext, RejectedRow
from apps.quality.models import QuarantinedRow
from apps.quality.services.payloads import encode_payload, to_exact
from apps.tenancy.services.context import require_tenant

CHUNK_ROWS = 5_000
CHUNK_CHARS = 16 * 1024 * 1024
MESSAGE_CHARS = 2_000
RULE_CHARS = 100
POSITION_CHARS = 500

_TABLE = QuarantinedRow._meta.db_table
_FIXED = "created_at, updated_at, run_id, flow_id, flow_version_id, environment_id, part, status, decided_by_name, note"
_VARIABLE = "id, row_id, source_position, payload, errors, rules, search_text"
_COPY = f"COPY {_TABLE} ({_VARIABLE}, {_FIXED}) FROM STDIN"
_INSERT = (
    f"INSERT INTO {_TABLE} ({_VARIABLE}, {_FIXED})"  # noqa: S608 - nothing here comes from outside
    " VALUES (%s::uuid, %s, %s, %s::jsonb, %s::jsonb, %s::varchar[], %s, %s, %s, %s, %s, %s, %s, %s, %s, '', '')"
    " ON CONFLICT (run_id, row_id) DO NOTHING"
)
# What COPY's text format gives a meaning to; everything else, of any language, is written as it is.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_SPECIAL = re.compile(r"[\\\t\n\r]")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

_Record = tuple[str, str, str, str, str, str, str]
"""Text of the columns that differ from row to row, in the order of `_VARIABLE`."""


def quarantine_rows_bulk(context: QuarantineContext, rows: Iterable[RejectedRow]) -> int:
    """Keep rejected rows; 100,000 take a few seconds.

    A row that is there already (same run and `row_id`) is kept as it is, so a repeated call changes nothing. To repeat
    a part whose rows may have other ids, call `reset_part` first.

    Args:
        context: run, flow, version, environment and part that reject the rows.
        rows: consumed in chunks of at most `CHUNK_ROWS` rows or `CHUNK_CHARS` characters; never held as a whole.

    Returns:
        Rows added.
    """
    added = 0
    with transaction.atomic():
        for chunk in _chunks(rows):
            added += _write(context, chunk)
        if added:
            send_hint(require_tenant().id, "quarantine", context.run_id, flow=str(context.flow_id), added=added)
    return added


def reset_part(context: QuarantineContext) -> int:
    """Forget the rows of one part of a run that nobody has touched, before the part is done again.

    Returns:
        Rows removed.
    """
    removed: int
    removed, _ = QuarantinedRow.objects.filter(
        run_id=context.run_id, part=context.part, status=QuarantineStatus.OPEN
    ).delete()
    return removed


def _chunks(rows: Iterable[RejectedRow]) -> Iterator[list[_Record]]:
    chunk: list[_Record] = []
    chars = 0
    for record in _records(rows):
        chunk.append(record)
        chars += len(record[3])
        if len(chunk) == CHUNK_ROWS or chars >= CHUNK_CHARS:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def _records(rows: Iterable[RejectedRow]) -> Iterator[_Record]:
    # Rows of one batch break few different combinations of rules, so each combination is written out once.
    known: dict[tuple[BrokenRule, ...], tuple[str, str]] = {}
    for row in rows:
        found = known.get(row.errors)
        if found is None:
            found = known[row.errors] = _write_out(row.errors)
        payload, search_text = encode_payload(row.payload)
        position = to_exact(row.source_position)[:POSITION_CHARS]
        yield (str(uuid7()), row.row_id, position, payload, *found, search_text)


def _write_out(errors: Sequence[BrokenRule]) -> tuple[str, str]:
    """Broken rules as JSON text, and their distinct names as an array literal."""
    exact = [to_exact({**error.to_json(), "message": error.message[:MESSAGE_CHARS]}) for error in errors]
    names = dict.fromkeys(item["rule"][:RULE_CHARS] for item in exact)
    quoted = ",".join('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names)
    return _JSON.encode(exact), "{" + quoted + "}"


def _fixed(context: QuarantineContext) -> tuple[str | None, ...]:
    at = now().isoformat()
    version = None if context.flow_version_id is None else str(context.flow_version_id)
    ids = (str(context.run_id), str(context.flow_id), version, str(context.environment_id))
    return (at, at, *ids, context.part, QuarantineStatus.OPEN.value)


def _escape(value: str) -> str:
    # Few values need it, and looking is a tenth of the cost of translating.
    return value.translate(_ESCAPES) if _SPECIAL.search(value) else value


def _write(context: QuarantineContext, records: Sequence[_Record]) -> int:
    # COPY is several times faster than INSERT but knows no ON CONFLICT; a repeated row is rare, so COPY is tried first.
    fixed = _fixed(context)
    tail = "\t".join("\\N" if value is None else _escape(value) for value in fixed) + "\t\t\n"
    lines = ["\t".join([_escape(value) for value in record]) + "\t" + tail for record in records]
    try:
        with transaction.atomic(), connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.write("".join(lines))
    except UniqueViolation:
        added = 0
        with connection.cursor() as cursor:
            for record in records:
                cursor.execute(_INSERT, (*record, *fixed))
                added += cursor.rowcount
        return added
    return len(records)
