"""Control totals computed inside the database, as exact text that any other engine can reproduce.

`key_hash` adds up, over all rows, the first 15 hexadecimal digits of the MD5 of the key's text (columns joined by `|`):
independent of order, and the same formula in DuckDB: `sum(('0x' || md5(key)[:15])::BIGINT)`.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from apps.connectors.choices import Aggregate
from apps.connectors.contracts import Control
from apps.connectors.exceptions import ConfigInvalid
from apps.connectors.sql.tables import Session


def compute_totals(
    session: Session, source: sql.Composable, controls: Sequence[Control], where: Sequence[sql.Composable]
) -> dict[str, str | None]:
    """The totals of a table's or subquery's rows, by control name."""
    if not controls:
        return {}
    parts = [sql.SQL("({})::text").format(_expression(control)) for control in controls]
    statement = sql.SQL("SELECT {} FROM {} AS t").format(sql.SQL(", ").join(parts), source)
    if where:
        statement += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(where)
    row = session.execute(statement).fetchone()
    values = row if row is not None else (None,) * len(controls)
    return {control.name: value for control, value in zip(controls, values, strict=True)}


def empty_totals(controls: Sequence[Control]) -> dict[str, str | None]:
    """The totals of no rows."""
    zero = {Aggregate.COUNT, Aggregate.KEY_HASH}
    return {control.name: "0" if control.aggregate in zero else None for control in controls}


def _expression(control: Control) -> sql.Composable:
    if control.aggregate == Aggregate.COUNT:
        return sql.SQL("count(*)") if not control.column else _call("count", control.column)
    if control.aggregate == Aggregate.KEY_HASH:
        columns = control.columns or ((control.column,) if control.column else ())
        if not columns:
            raise ConfigInvalid(f"Control {control.name} needs the key's columns.", field="columns")
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("t", one)) for one in columns)
        return sql.SQL(
            "coalesce(sum((('x0' || substr(md5(concat_ws('|', {})), 1, 15))::bit(64)::bigint)::numeric), 0)"
        ).format(texts)
    if not control.column:
        raise ConfigInvalid(f"Control {control.name} needs a column.", field="column")
    return _call(str(control.aggregate), control.column)


def _call(function: str, column: str) -> sql.Composed:
    return sql.SQL("{}({})").format(sql.SQL(function), sql.Identifier("t", column))
