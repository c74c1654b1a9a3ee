"""What a target table looks like, and how it follows a load's schema."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from apps.connectors.contracts import EntityField, WriteRequest
from apps.connectors.exceptions import SchemaChanged, WriteRefused
from apps.connectors.sql.types import merge_types, postgres_type

Session = psycopg.Connection[tuple[Any, ...]]
NAME_BYTES = 63

TABLE_QUERY = """
SELECT c.oid, c.relkind::text, pg_get_userbyid(c.relowner) = current_user, greatest(c.reltuples, -1)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
COLUMNS_QUERY = """
SELECT attname, format_type(atttypid, atttypmod), attnotnull, attgenerated <> '' OR attidentity = 'a'
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
UNIQUE_QUERY = """
SELECT array_agg(a.attname ORDER BY k.position)
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, position)
LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND k.position <= i.indnkeyatts
GROUP BY i.indexrelid
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table in PostgreSQL's terms."""

    name: str
    native: str
    required: bool = False
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is now. `estimate` is -1 when the server never counted."""

    oid: int
    kind: str
    owned: bool
    estimate: int
    columns: tuple[Column, ...]
    unique_keys: tuple[frozenset[str], ...]

    def find_column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((one for one in self.columns if one.name == name), None)


def identifier(schema: str, name: str) -> sql.Identifier:
    """A qualified, quoted name."""
    return sql.Identifier(schema, name)


def names_list(names: tuple[str, ...] | list[str], prefix: str = "") -> sql.Composed:
    """Quoted names separated by commas, each with a table alias if given."""
    parts = [sql.Identifier(prefix, one) if prefix else sql.Identifier(one) for one in names]
    return sql.SQL(", ").join(parts)


def short_name(base: str, suffix: str) -> str:
    """`base` + `suffix` within PostgreSQL's name length; a hash keeps shortened names apart."""
    if len(f"{base}{suffix}".encode()) <= NAME_BYTES:
        return f"{base}{suffix}"
    digest = hashlib.sha256(base.encode()).hexdigest()[:8]
    kept = base.encode()[: NAME_BYTES - len(suffix) - 9].decode(errors="ignore")
    return f"{kept}_{digest}{suffix}"


def find_table(session: Session, schema: str, name: str) -> Table | None:
    """The table or view of that name, or None."""
    row = session.execute(TABLE_QUERY, (schema, name)).fetchone()
    if row is None:
        return None
    oid, kind, owned, estimate = row
    columns = tuple(Column(*one) for one in session.execute(COLUMNS_QUERY, (oid,)).fetchall())
    unique = tuple(frozenset(one[0]) for one in session.execute(UNIQUE_QUERY, (oid,)).fetchall() if None not in one[0])
    return Table(oid, kind, owned, estimate, columns, unique)


def check_writable(table: Table | None, entity: str) -> None:
    """Refuse views and foreign tables as targets."""
    if table is not None and table.kind not in {"r", "p"}:
        raise WriteRefused(
            f"{entity} is not a table, so rows cannot be loaded into it.",
            field="entity",
            value=entity,
            remedy="Choose a table, or another name for a new one.",
        )


def plan_columns(request: WriteRequest, target: Table | None) -> tuple[Column, ...]:
    """The columns in which the rows are staged: the target's types where they hold the load's values, else wider ones.

    Raises:
        SchemaChanged: a type cannot be widened without loss, or a change is needed and not allowed.
    """
    planned = []
    for field in request.schema.fields:
        wanted = postgres_type(field.type)
        required = field.name in request.keys or not field.nullable
        existing = target.find_column(field.name) if target is not None else None
        if existing is None:
            if target is not None and not request.allow_evolution:
                raise _refused(request, field, f"{request.entity} has no column {field.name}.")
            planned.append(Column(field.name, wanted, required))
            continue
        merged = merge_types(existing.native, wanted)
        if merged is None:
            raise _refused(
                request,
                field,
                f"Column {field.name} of {request.entity} is {existing.native}; the load brings {wanted}.",
            )
        if merged != existing.native and not request.allow_evolution:
            raise _refused(request, field, f"Column {field.name} of {request.entity} would have to become {merged}.")
        planned.append(Column(field.name, merged, required))
    return tuple(planned)


def evolve_table(session: Session, schema: str, name: str, target: Table, staged: tuple[Column, ...]) -> list[str]:
    """Add missing columns to the target and widen those that are too narrow.

    Returns:
        A sentence per change, for the run's log.
    """
    changes = []
    table = identifier(schema, name)
    for column in staged:
        existing = target.find_column(column.name)
        kind = sql.SQL(column.native)  # from format_type or our own table of types
        if existing is None:
            session.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(table, sql.Identifier(column.name), kind))
            changes.append(f"Added column {column.name} ({column.native}).")
        elif existing.native != column.native:
            statement = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {}")
            session.execute(statement.format(table, sql.Identifier(column.name), kind))
            changes.append(f"Widened column {column.name} from {existing.native} to {column.native}.")
    return changes


def create_columns(columns: tuple[Column, ...]) -> sql.Composed:
    """The column list of a CREATE TABLE."""
    parts = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(one.name),
            sql.SQL(one.native),  # from format_type or our own table of types
            sql.SQL(" NOT NULL" if one.required else ""),
        )
        for one in columns
    ]
    return sql.SQL(", ").join(parts)


def count_rows(session: Session, schema: str, name: str) -> int:
    """Exact number of rows."""
    row = session.execute(sql.SQL("SELECT count(*) FROM {}").format(identifier(schema, name))).fetchone()
    return int(row[0]) if row else 0


def _refused(request: WriteRequest, field: EntityField, message: str) -> SchemaChanged:
    return SchemaChanged(
        message,
        field=field.name,
        value=field.type,
        remedy="Change the field's target type, load into a new entity, or allow the target's schema to evolve.",
    )
