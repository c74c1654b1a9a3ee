"""What is in a PostgreSQL database: entities by page, and the structure of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from apps.connectors.choices import EntityKind
from apps.connectors.contracts import EntityField, EntityPage, EntityRef, EntitySchema
from apps.connectors.exceptions import EntityGone
from apps.connectors.sql.tables import Session
from apps.connectors.sql.types import duckdb_type

KINDS = {
    "r": EntityKind.TABLE,
    "p": EntityKind.TABLE,
    "f": EntityKind.TABLE,
    "v": EntityKind.VIEW,
    "m": EntityKind.VIEW,
}

ENTITIES_QUERY = r"""
SELECT n.nspname, c.relname, c.relkind::text, CASE WHEN c.reltuples < 0 OR c.relkind = 'v' THEN NULL
       ELSE c.reltuples::bigint END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relname !~ '^_aip_'
  AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s)
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
  AND strpos(lower(n.nspname || '.' || c.relname), lower(%(search)s)) > 0
  AND (%(after_schema)s::text IS NULL OR (n.nspname::text, c.relname::text) > (%(after_schema)s, %(after_name)s))
ORDER BY n.nspname::text, c.relname::text LIMIT %(limit)s
"""
ENTITY_QUERY = """
SELECT c.oid, c.relkind::text, CASE WHEN c.reltuples < 0 OR c.relkind = 'v' THEN NULL ELSE c.reltuples::bigint END,
       has_table_privilege(c.oid, 'SELECT'), pg_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
# A domain is read as its base type.
FIELDS_QUERY = """
SELECT a.attname, CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
       ELSE format_type(a.atttypid, a.atttypmod) END,
       NOT (a.attnotnull OR t.typnotnull), coalesce(col_description(a.attrelid, a.attnum), ''),
       a.attidentity <> '' OR pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname)
       IS NOT NULL,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
KEYS_QUERY = """
SELECT i.indisprimary, array_agg(a.attname::text ORDER BY k.position), bool_and(a.attnotnull)
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, position)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND k.position <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary ORDER BY i.indisprimary DESC, bool_and(a.attnotnull) DESC, count(*), i.indexrelid
"""
CHANGED_NAME = re.compile(r"(updated|modified|changed|last_?upd|last_?mod|mtime|_upd_)", re.IGNORECASE)
CREATED_NAME = re.compile(r"(created|inserted|added|_at$|timestamp|_ts$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Described:
    """An entity with what only the reader needs to know."""

    schema: EntitySchema
    natives: dict[str, str]
    oid: int
    kind: str
    size_bytes: int


def list_entities(
    session: Session, *, schema: str | None, search: str, cursor: str | None, limit: int, qualify: bool
) -> EntityPage:
    """One page of readable tables and views, ordered by schema and name.

    Args:
        schema: only this one; None for all.
        cursor: name of the last entity of the page before.
        qualify: whether names carry their schema.
    """
    after_schema, after_name = (None, None) if cursor is None else split_name(cursor, schema or "")
    rows = session.execute(
        ENTITIES_QUERY,
        {
            "schema": schema,
            "search": search,
            "after_schema": after_schema,
            "after_name": after_name,
            "limit": limit + 1,
        },
    ).fetchall()
    found = tuple(
        EntityRef(f"{namespace}.{name}" if qualify else name, name, KINDS[kind], estimate)
        for namespace, name, kind, estimate in rows[:limit]
    )
    return EntityPage(found, found[-1].name if len(rows) > limit else None)


def describe_entity(session: Session, schema: str, name: str, entity: str) -> Described:
    """Structure, keys and cursor candidates of a table or view.

    Raises:
        EntityGone: it does not exist, or the account may not read it.
    """
    row = session.execute(ENTITY_QUERY, (schema, name)).fetchone()
    if row is None:
        raise EntityGone(f"{entity} does not exist in the database.", field="entity", value=entity)
    oid, kind, estimate, readable, size_bytes = row
    if not readable:
        raise EntityGone(
            f"The account may not read {entity}.",
            field="entity",
            value=entity,
            remedy=f"Ask the database's administrator: GRANT SELECT ON {entity} TO the account.",
        )
    keys = session.execute(KEYS_QUERY, (oid,)).fetchall()
    primary = next((tuple(columns) for is_primary, columns, required in keys if is_primary or required), ())
    rows = session.execute(FIELDS_QUERY, (oid,)).fetchall()
    fields = tuple(
        EntityField(column, duckdb_type(native), native, nullable, column in primary, position, description)
        for position, (column, native, nullable, description, _serial, _indexed) in enumerate(rows)
    )
    schema_ = EntitySchema(
        name=entity,
        fields=fields,
        keys=primary,
        cursor_candidates=_rank_cursors(rows),
        unique_keys=tuple(tuple(columns) for _primary, columns, _required in keys),
        kind=KINDS[kind],
        row_estimate=estimate,
        partitioned=kind == "p",
    )
    return Described(schema_, {one[0]: one[1] for one in rows}, oid, kind, size_bytes)


def split_name(entity: str, default_schema: str) -> tuple[str, str]:
    """Schema and table of an entity name; a name without a point is in the default schema."""
    schema, separator, name = entity.partition(".")
    return (schema, name) if separator else (default_schema, entity)


def _rank_cursors(rows: list[tuple[Any, ...]]) -> tuple[str, ...]:
    """Columns that could order changes, best first: by meaning of the name, then type, then an index."""
    scored = []
    for position, (name, native, _nullable, _description, serial, indexed) in enumerate(rows):
        score = 0
        if native.startswith(("timestamp", "date")):
            score = 100 if CHANGED_NAME.search(name) else 60 if CREATED_NAME.search(name) else 25
            score -= 15 if native == "date" else 0
        elif native in {"smallint", "integer", "bigint"}:
            score = 50 if serial else 40 if CHANGED_NAME.search(name) or name in {"version", "rowversion"} else 0
        if score:
            scored.append((-(score + (10 if indexed else 0)), position, name))
    return tuple(name for _score, _position, name in sorted(scored))
