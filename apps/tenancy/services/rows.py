"""Reads and writes tenants' rows on paths where Django's general query builder costs more than the database.

A statement takes all its rows as one JSON value, so it costs the same to build for one row as for a hundred, and
several statements travel together. Nothing here decides anything: it is `bulk_create`, `save(update_fields=…)` and
`raw` over again, for models of tenants, inside the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models

from apps.core.clock import now
from apps.tenancy.models import check_tenant_entered

Row = TypeVar("Row", bound=models.Model)


class Statements:
    """Statements that travel to the database together, in their order. None of them may be asked for a result."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._parameters: list[Any] = []

    def add(self, text: str, parameters: Sequence[Any] = ()) -> None:
        """One more statement."""
        self._texts.append(text)
        self._parameters += parameters

    def insert(self, rows: Sequence[models.Model], *, leave_out: tuple[str, ...] = ()) -> None:
        """New rows of one model as they are; their times of creation are set, and the database fills `leave_out`."""
        if not rows:
            return
        check_tenant_entered(type(rows[0]))
        text, fields = _insert_text(type(rows[0]), leave_out)
        self.add(text, [_to_json(rows, fields, adding=True)])

    def update(self, rows: Sequence[models.Model], names: tuple[str, ...]) -> None:
        """These fields of existing rows of one model, in one statement."""
        if not rows:
            return
        check_tenant_entered(type(rows[0]))
        text, fields = _update_text(type(rows[0]), names)
        self.add(text, [_to_json(rows, fields, adding=False)])

    def send(self) -> None:
        """Execute what was added; the first fault is raised, and nothing after it was executed."""
        if not self._texts:
            return
        text, parameters = ";\n".join(self._texts), self._parameters
        self._texts, self._parameters = [], []
        with connection.cursor() as cursor:
            cursor.execute(text, parameters)


def select_rows(
    model: type[Row], tail: str, parameters: Sequence[Any], *, extra: tuple[tuple[str, str], ...] = ()
) -> list[Row]:
    """Rows of a model.

    Args:
        model: whose table.
        tail: what follows `FROM <table>`.
        parameters: of the tail.
        extra: (attribute, expression) of further values, set on each row.
    """
    check_tenant_entered(model)
    head, names, converters = _select_text(model, extra)
    with connection.cursor() as cursor:
        cursor.execute(f"{head} {tail}", parameters)
        found = cursor.fetchall()
    rows = []
    for values in found:
        own = list(values[: len(names)])
        for place, convert in converters:
            own[place] = convert(own[place], None, connection)
        row: Row = model.from_db(connection.alias, names, own)
        for (attribute, _), value in zip(extra, values[len(names) :], strict=True):
            setattr(row, attribute, value)
        rows.append(row)
    return rows


def _to_json(rows: Sequence[models.Model], fields: tuple[Any, ...], *, adding: bool) -> str:
    moment = now()
    columns = [(field.column, field.attname, _converter(field)) for field in fields]
    times = [field.attname for field in fields if _is_set_by_us(field, adding=adding)]
    documents = []
    for row in rows:
        values = row.__dict__
        for name in times:
            values[name] = moment
        document = {}
        for column, name, convert in columns:
            value = values[name]
            document[column] = value if value is None or convert is None else convert(value)
        documents.append(document)
        if adding:
            row._state.adding, row._state.db = False, connection.alias
    return json.dumps(documents, ensure_ascii=False)


def _is_set_by_us(field: Any, *, adding: bool) -> bool:
    return getattr(field, "auto_now", False) or (adding and getattr(field, "auto_now_add", False))


@cache
def _converter(field: Any) -> Callable[[Any], Any] | None:
    """How a value of that field is written in JSON; None when it is JSON already."""
    kind = getattr(field, "target_field", field)
    if isinstance(kind, models.UUIDField):
        return str
    if isinstance(kind, models.DateField):
        return lambda value: value.isoformat()
    if isinstance(kind, models.BinaryField):
        return lambda value: f"\\x{value.hex()}"
    if isinstance(kind, ArrayField) and isinstance(kind.base_field, models.UUIDField):
        return lambda value: [str(item) for item in value]
    return None


@cache
def _insert_text(model: type[models.Model], leave_out: tuple[str, ...]) -> tuple[str, tuple[Any, ...]]:
    fields = tuple(field for field in model._meta.concrete_fields if field.name not in leave_out)
    names = ", ".join(_quote(field.column) for field in fields)
    table, record = _quote(model._meta.db_table), _record(fields)
    text = f"INSERT INTO {table} ({names}) SELECT {names} FROM {record} AS given"  # noqa: S608 - names of columns
    return text, fields


@cache
def _update_text(model: type[models.Model], names: tuple[str, ...]) -> tuple[str, tuple[Any, ...]]:
    key = model._meta.pk
    changing: tuple[Any, ...] = tuple(model._meta.get_field(name) for name in names)
    sets = ", ".join(f"{_quote(field.column)} = given.{_quote(field.column)}" for field in changing)
    table, fields = _quote(model._meta.db_table), (key, *changing)
    where = f"stored.{_quote(key.column)} = given.{_quote(key.column)}"
    return f"UPDATE {table} AS stored SET {sets} FROM {_record(fields)} AS given WHERE {where}", fields  # noqa: S608


def _record(fields: tuple[Any, ...]) -> str:
    columns = ", ".join(f"{_quote(field.column)} {field.db_type(connection)}" for field in fields)
    return f"ROWS FROM (jsonb_to_recordset(%s::jsonb) AS ({columns}))"


@cache
def _select_text(
    model: type[models.Model], extra: tuple[tuple[str, str], ...]
) -> tuple[str, list[str], list[tuple[int, Any]]]:
    fields = model._meta.concrete_fields
    columns = [_quote(field.column) for field in fields] + [expression for _, expression in extra]
    converters = [(place, field.from_db_value) for place, field in enumerate(fields) if hasattr(field, "from_db_value")]
    text = f"SELECT {', '.join(columns)} FROM {_quote(model._meta.db_table)}"  # noqa: S608 - names of columns
    return text, [field.attname for field in fields], converters


def _quote(name: Any) -> str:
    quoted: str = connection.ops.quote_name(name)
    return quoted
