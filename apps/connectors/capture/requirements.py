"""What a PostgreSQL database needs before its changes can be captured, and who has to do what about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from apps.connectors.capture.rows import CapturedTable
from apps.connectors.sql.discovery import split_name
from apps.connectors.sql.tables import Session
from apps.core.exceptions import Problem

MIN_VERSION = 130000

SERVER_QUERY = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('wal_level'),
       pg_is_in_recovery(), current_user, current_database(),
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)
       OR coalesce((SELECT pg_has_role(current_user, oid, 'USAGE') FROM pg_roles WHERE rolname = 'rds_replication'),
                   false),
       (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int,
       has_database_privilege(current_database(), 'CREATE')
"""
TABLE_QUERY = """
SELECT c.oid, c.relkind::text, c.relpersistence::text, c.relreplident::text, has_table_privilege(c.oid, 'SELECT'),
       pg_has_role(c.relowner, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""
COLUMNS_QUERY = """
SELECT attname, atttypid, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
KEY_QUERY = """
SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND k.place <= i.indnkeyatts AND CASE WHEN %s THEN i.indisreplident ELSE i.indisprimary END
"""
PUBLICATION_QUERY = """
SELECT pubinsert AND pubupdate AND pubdelete, pubviaroot FROM pg_publication WHERE pubname = %s
"""


@dataclass(frozen=True)
class Findings:
    """What was looked up: the tables as they are, and everything that is in the way."""

    tables: list[CapturedTable]
    problems: list[Problem]


def examine(session: Session, names: list[str], *, publication: str, is_own: bool) -> Findings:
    """Look whether the tables can be captured.

    Args:
        session: a session with the connection's account.
        names: `schema.table`, at least one.
        publication: its name.
        is_own: the portal makes the publication; else an administrator has made it.
    """
    row = session.execute(SERVER_QUERY).fetchone()
    assert row is not None
    problems = _server_problems(row, is_own=is_own, publication=publication, names=names)
    tables = []
    foreign = []
    for place, name in enumerate(names):
        table, problem, is_owner = _examine_table(session, name, f"tables[{place}]")
        if table is not None:
            tables.append(table)
        if problem is not None:
            problems.append(problem)
        elif not is_owner:
            foreign.append(name)
    if is_own and foreign:
        message = f"The account owns {', '.join(foreign)} not, so it cannot publish its changes."
        problems.append(_problem("publication", "owner", message, publication_sql(publication, names) + _NAME_IT))
    if not is_own:
        problems += _publication_problems(session, row[0], publication, names)
    return Findings(tables, problems)


def publication_sql(publication: str, names: list[str]) -> str:
    """The statement that makes the publication."""
    tables = sql.SQL(", ").join(sql.Identifier(*split_name(name, "public")) for name in names)
    statement = sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)")
    return statement.format(sql.Identifier(publication), tables).as_string()


_NAME_IT = "; -- as the tables' owner; then enter the name of this publication"


def _server_problems(row: tuple[Any, ...], *, is_own: bool, publication: str, names: list[str]) -> list[Problem]:
    number, version, wal_level, is_standby, account, database, may_replicate, slots, most_slots, may_create = row
    user = sql.Identifier(account).as_string()
    found = []
    if number < MIN_VERSION:
        message = f"Change capture needs PostgreSQL 13 or later; the server is {version}."
        found.append(_problem("connection", "version", message, None))
    if is_standby:
        message = "The server is a standby; changes are captured at the primary."
        found.append(_problem("connection", "standby", message, None))
    if wal_level != "logical":
        message = f"The server writes its log for wal_level = {wal_level}; change capture needs logical."
        hint = "ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server"
        found.append(_problem("connection", "wal_level", message, hint))
    if not may_replicate:
        message = f"The account {account} may not replicate."
        hint = f"ALTER ROLE {user} REPLICATION; -- Amazon RDS: GRANT rds_replication TO {user};"
        found.append(_problem("connection", "replication_right", message, hint))
    if slots >= most_slots:
        message = f"All {most_slots} replication slots of the server are in use."
        hint = f"ALTER SYSTEM SET max_replication_slots = {most_slots + 10}; -- then restart the server"
        found.append(_problem("connection", "slots", message, hint))
    if is_own and not may_create:
        message = f"The account {account} may not create a publication in {database}."
        grant = f"GRANT CREATE ON DATABASE {sql.Identifier(database).as_string()} TO {user};"
        hint = f"{grant} -- or: {publication_sql(publication, names)}{_NAME_IT}"
        found.append(_problem("publication", "publication_right", message, hint))
    return found


def _examine_table(session: Session, name: str, path: str) -> tuple[CapturedTable | None, Problem | None, bool]:
    quoted = sql.Identifier(*split_name(name, "public")).as_string()
    user = sql.Identifier(session.info.user).as_string()
    row = session.execute(TABLE_QUERY, split_name(name, "public")).fetchone()
    if row is None:
        return None, _problem(path, "table_gone", f"There is no table {name}.", None), False
    oid, kind, persistence, identity, readable, is_owner = row
    if kind not in ("r", "p") or persistence != "p":
        message = f"{name} is no permanent table: its changes are not in the server's log."
        return None, _problem(path, "table_kind", message, None), False
    if not readable:
        hint = f"GRANT SELECT ON {quoted} TO {user};"
        return None, _problem(path, "table_right", f"The account may not read {name}.", hint), False
    key = session.execute(KEY_QUERY, (oid, identity == "i")).fetchone()
    keys = tuple(key[0]) if key is not None and key[0] else ()
    if not keys or identity == "n":
        message = f"{name} has no key by which a changed row is known; its updates would fail once they are published."
        hint = (
            f"ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT;"
            if keys
            else f"ALTER TABLE {quoted} ADD PRIMARY KEY (…); -- or REPLICA IDENTITY USING INDEX …"
        )
        return None, _problem(path, "key_missing", message, hint), False
    columns = [(one[0], one[1], one[2]) for one in session.execute(COLUMNS_QUERY, (oid,)).fetchall()]
    return CapturedTable(name, keys, columns), None, is_owner


def _publication_problems(session: Session, number: int, publication: str, names: list[str]) -> list[Problem]:
    row = session.execute(PUBLICATION_QUERY, (publication,)).fetchone()
    if row is None:
        message = f"There is no publication {publication}."
        return [_problem("publication", "publication_gone", message, publication_sql(publication, names))]
    found = []
    quoted = sql.Identifier(publication).as_string()
    if not row[0] or not row[1]:
        message = f"The publication {publication} leaves changes out."
        options = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"
        found.append(
            _problem("publication", "publication_options", message, f"ALTER PUBLICATION {quoted} SET ({options});")
        )
    filtered = "rowfilter IS NOT NULL" if number >= 150000 else "false"
    rows = session.execute(  # made of constants: `rowfilter` is a column since version 15
        f"SELECT schemaname || '.' || tablename, {filtered} FROM pg_publication_tables WHERE pubname = %s",  # noqa: S608
        (publication,),
    ).fetchall()
    published = {one[0]: one[1] for one in rows}
    for place, name in enumerate(names):
        table = sql.Identifier(*split_name(name, "public")).as_string()
        if name not in published:
            hint = f"ALTER PUBLICATION {quoted} ADD TABLE {table};"
            message = f"The publication {publication} does not have {name}."
            found.append(_problem(f"tables[{place}]", "publication_table", message, hint))
        elif published[name]:
            message = f"The publication {publication} has a row filter for {name}; the first snapshot would show more."
            hint = f"ALTER PUBLICATION {quoted} DROP TABLE {table}; ALTER PUBLICATION {quoted} ADD TABLE {table};"
            found.append(_problem(f"tables[{place}]", "publication_filter", message, hint))
    return found


def _problem(path: str, code: str, message: str, hint: str | None) -> Problem:
    return Problem(path, f"connectors.capture_{code}", message, hint=hint)
