"""Which rows: conditions for cursors and partitions, plans of partitions, and the watermark of incremental loads."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg import sql

from apps.connectors.choices import PartitionKind, WatermarkMethod
from apps.connectors.contracts import CursorRange, Partition, Watermark
from apps.connectors.exceptions import ColumnGone
from apps.connectors.sql.discovery import Described
from apps.connectors.sql.tables import Session

RANGE_TYPES = ("smallint", "integer", "bigint")
BLOCK_BYTES = 8192
WITH_TRANSACTION_IDS = {"r", "m", "p"}
"""Tables, materialised views and partitioned tables show the transaction that wrote a row."""


def cursor_conditions(cursor: CursorRange) -> list[sql.Composable]:
    """The WHERE conditions of a cursor range over alias `t`."""
    column = sql.Identifier("t", cursor.column)
    conditions: list[sql.Composable] = []
    if cursor.lower is not None:
        operator = sql.SQL(">=" if cursor.lower_inclusive else ">")
        lower: sql.Composable = sql.SQL("{} {} {}").format(column, operator, sql.Literal(cursor.lower))
        if cursor.since_snapshot:
            lower = sql.SQL("({} OR NOT pg_visible_in_snapshot({}, {}::pg_snapshot))").format(
                lower, _row_xid(cursor.since_snapshot), sql.Literal(cursor.since_snapshot)
            )
        conditions.append(lower)
    if cursor.upper is not None:
        operator = sql.SQL("<=" if cursor.upper_inclusive else "<")
        conditions.append(sql.SQL("{} {} {}").format(column, operator, sql.Literal(cursor.upper)))
    if not conditions and not cursor.include_null:
        return [sql.SQL("{} IS NOT NULL").format(column)]
    if conditions and cursor.include_null:
        return [sql.SQL("({} OR {} IS NULL)").format(sql.SQL(" AND ").join(conditions), column)]
    return conditions


def partition_conditions(partition: Partition) -> list[sql.Composable]:
    """The WHERE conditions of a partition over alias `t`."""
    if partition.kind == PartitionKind.BLOCKS:
        column: sql.Composable = sql.SQL("t.ctid")
        lower = None if partition.lower is None else sql.Literal(f"({partition.lower},0)")
        upper = None if partition.upper is None else sql.Literal(f"({partition.upper},0)")
    elif partition.kind == PartitionKind.RANGE and partition.column:
        column = sql.Identifier("t", partition.column)
        lower = None if partition.lower is None else sql.Literal(partition.lower)
        upper = None if partition.upper is None else sql.Literal(partition.upper)
    else:
        return []
    conditions: list[sql.Composable] = []
    if lower is not None:
        conditions.append(sql.SQL("{} >= {}").format(column, lower))
    if upper is not None:
        conditions.append(sql.SQL("{} < {}").format(column, upper))
    # Rows without a value belong to the first partition.
    if partition.kind == PartitionKind.RANGE and lower is None and conditions:
        return [sql.SQL("({} OR {} IS NULL)").format(sql.SQL(" AND ").join(conditions), column)]
    return conditions


def plan_partitions(
    session: Session, described: Described, source: sql.Composable, count: int, column: str | None
) -> tuple[Partition, ...]:
    """Disjoint parts of about equal size.

    By ranges of an integer key where there is one (safe while the table changes), otherwise by blocks of the table
    (any table; needs a shared snapshot to be exact while it changes). Views without a key are read whole.
    """
    if count <= 1:
        return (Partition(row_estimate=described.schema.row_estimate),)
    chosen = column or _range_column(described)
    if chosen is not None:
        bounds = _integer_bounds(session, described, source, chosen, count)
        return _partitions(PartitionKind.RANGE, chosen, bounds, described.schema.row_estimate)
    blocks = described.size_bytes // BLOCK_BYTES
    if described.kind != "r" or blocks < 2 * count:
        return (Partition(row_estimate=described.schema.row_estimate),)
    bounds = [str(blocks * index // count) for index in range(1, count)]
    return _partitions(PartitionKind.BLOCKS, None, bounds, described.schema.row_estimate)


def find_watermark(session: Session, described: Described, source: sql.Composable, column: str) -> Watermark:
    """The high end of an incremental read that leaves out rows whose transactions may still commit below it.

    Timestamps: a transaction stamps its rows with a time not before its own start, so nothing below the start of the
    oldest open transaction can still appear. Other columns, or accounts that may not see other sessions: the snapshot
    is remembered, and the next run also reads rows that were not visible in it.

    Must run in a transaction of its own (REPEATABLE READ), so that snapshot and maximum belong together.
    """
    native = described.natives.get(column)
    if native is None:
        raise ColumnGone(f"{described.schema.name} has no column {column}.", field="cursor", value=column)
    # First the open transactions, then the rows: one that commits in between is then held back, never missed.
    row = session.execute(
        "SELECT pg_current_snapshot()::text, "
        "(SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() "
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND xact_start IS NOT NULL), "
        "(SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()), "
        # Rows of other users are blank for an account that may not see them; the server's own workers have no user.
        "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "            AND usesysid IS NOT NULL AND backend_type IS NULL), now(), "
        "(SELECT coalesce((SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'), 'UTC'))"
    ).fetchone()
    top = session.execute(sql.SQL("SELECT max({}) FROM {} AS t").format(sql.Identifier("t", column), source)).fetchone()
    highest = top[0] if top is not None else None
    if row is None or highest is None:
        return Watermark(None, note="The entity has no row with a value in the cursor column yet.")
    snapshot, oldest, prepared, sees_all, current, zone = row
    xmin_visible = described.kind in WITH_TRANSACTION_IDS
    if native.startswith("timestamp") and sees_all and prepared is None:
        return _time_watermark(highest, oldest, current, zone)
    value, inclusive = _above(highest)
    if not xmin_visible:
        return Watermark(value, inclusive, note="Its rows carry no transaction ids; use a look-back instead.")
    # A snapshot without open transactions still matters: one may have taken its number or time without a row yet.
    return Watermark(
        value,
        inclusive,
        snapshot=snapshot,
        method=WatermarkMethod.SNAPSHOT,
        note="Rows of transactions that are still open are read by the next run.",
    )


def _time_watermark(highest: datetime, oldest: datetime | None, current: datetime, zone: str) -> Watermark:
    value, inclusive = _above(highest)
    if oldest is None:
        return Watermark(value, inclusive, method=WatermarkMethod.OPEN_TRANSACTIONS)
    aware = highest.tzinfo is not None
    # A column without a zone holds UTC or the server's local time; the earlier of both readings is safe.
    limits = [oldest.astimezone(UTC)]
    if not aware:
        offset = oldest.astimezone(_zone(zone)).replace(tzinfo=None) - oldest.astimezone(UTC).replace(tzinfo=None)
        limits.append(oldest.astimezone(UTC) + offset)
    limit = min(limits) if aware else min(limits).replace(tzinfo=None)
    if limit > highest:
        return Watermark(value, inclusive, method=WatermarkMethod.OPEN_TRANSACTIONS)
    age_s = (current - oldest).total_seconds()
    return Watermark(
        limit.isoformat(),
        method=WatermarkMethod.OPEN_TRANSACTIONS,
        held_back_by_s=age_s,
        note=f"A transaction has been open for {age_s:.0f} s; rows changed since it began are read by the next run.",
    )


def _zone(name: str) -> Any:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _above(highest: Any) -> tuple[str, bool]:
    """The smallest value above the maximum where the type has one; else the maximum itself, inclusive."""
    if isinstance(highest, datetime):
        return (highest + timedelta(microseconds=1)).isoformat(), False
    if isinstance(highest, bool) or not isinstance(highest, int):
        return (highest.isoformat() if isinstance(highest, date) else str(highest)), True
    return str(highest + 1), False


def _row_xid(snapshot: str) -> sql.Composed:
    base = int(snapshot.split(":", 1)[0])
    return sql.SQL("(({} + age({}::xid) - age(t.xmin))::text::xid8)").format(
        sql.Literal(base), sql.Literal(str(base % 2**32))
    )


def _range_column(described: Described) -> str | None:
    keys = described.schema.keys
    if len(keys) == 1 and described.natives.get(keys[0]) in RANGE_TYPES:
        return keys[0]
    return None


def _integer_bounds(
    session: Session, described: Described, source: sql.Composable, column: str, count: int
) -> list[str]:
    """Inner bounds: from the server's histogram where it has one, else evenly between minimum and maximum."""
    native = described.natives.get(column)
    if native is None:
        raise ColumnGone(f"{described.schema.name} has no column {column}.", field="partition_column", value=column)
    row = session.execute(
        "SELECT s.histogram_bounds::text::text[] FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename "
        "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname "
        "WHERE c.oid = %s AND s.attname = %s",
        (described.oid, column),
    ).fetchone()
    histogram: list[str] = row[0] if row and row[0] else []
    if len(histogram) > 2 * count:
        return list(dict.fromkeys(histogram[len(histogram) * index // count] for index in range(1, count)))
    if native not in RANGE_TYPES:
        return []
    name = sql.Identifier("t", column)
    ends = session.execute(sql.SQL("SELECT min({}), max({}) FROM {} AS t").format(name, name, source)).fetchone()
    if ends is None or ends[0] is None:
        return []
    low, high = int(ends[0]), int(ends[1])
    return [str(bound) for bound in dict.fromkeys(low + (high - low) * i // count for i in range(1, count))]


def _partitions(
    kind: PartitionKind, column: str | None, bounds: list[str], estimate: int | None
) -> tuple[Partition, ...]:
    if not bounds:
        return (Partition(row_estimate=estimate),)
    ends: list[str | None] = [None, *bounds, None]
    count = len(ends) - 1
    share = None if estimate is None else estimate // count
    return tuple(Partition(index, count, kind, column, ends[index], ends[index + 1], share) for index in range(count))
