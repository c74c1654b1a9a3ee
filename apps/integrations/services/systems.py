"""Rules about a definition that depend on the systems at its ends: abilities, cursor, existing target columns."""

from __future__ import annotations

from apps.connectors.contracts import Capabilities, EntitySchema
from apps.core.exceptions import Problem
from apps.expressions.contracts import Schema
from apps.expressions.types import find_type, fit
from apps.integrations.choices import Disposition, LoadMode
from apps.integrations.contracts import FlowDefinition
from apps.integrations.shape import path_text

TEMPORAL = {"date", "timestamp", "timestamptz"}
ORDERED = TEMPORAL | {"integer", "decimal", "double"}


def find_system_problems(definition: FlowDefinition, kind: str, can: Capabilities | None) -> list[Problem]:
    """Whether the connector of one end can do what the definition asks of it."""
    base = ["nodes", definition.index_of(kind), "config"]
    place = path_text([*base, "connection"])
    slot = getattr(definition, kind).connection
    if can is None:
        return [_problem(place, "connector_gone", f"The connector behind {slot!r} is not installed.")]
    if kind == "source":
        if not can.read:
            return [_problem(place, "cannot_read", f"{slot!r} cannot be read from.")]
        if definition.load.mode == LoadMode.PARTITIONED and not can.partitions:
            message = f"{slot!r} cannot be read in parts; the load reads it in one."
            return [_problem("load.mode", "cannot_partition", message, severity="warning")]
        return []
    if not can.write:
        return [_problem(place, "cannot_write", f"{slot!r} cannot be written to.")]
    wanted = definition.target.disposition
    if wanted not in {str(item) for item in can.dispositions}:
        offered = ", ".join(str(item) for item in can.dispositions) or "none"
        message = f"{slot!r} does not offer {Disposition(wanted).label.lower()}."
        return [
            _problem(
                path_text([*base, "disposition"]), "disposition_not_offered", message, hint=f"It offers: {offered}."
            )
        ]
    return []


def find_cursor_problems(definition: FlowDefinition, source: Schema | None) -> list[Problem]:
    """Whether cursor and partition column exist and have an order."""
    if source is None:
        return []
    load = definition.load
    problems = []
    if load.cursor:
        problems += _ordered(source, load.cursor, "load.cursor", needed=load.mode == LoadMode.INCREMENTAL)
        found = source.find(load.cursor)
        family = _family(found.type) if found else ""
        if found and load.lookback_s and family in ORDERED - TEMPORAL:
            message = f"A look-back is in seconds, but the cursor {load.cursor!r} is {found.type}."
            problems.append(_problem("load.lookback_s", "lookback_not_temporal", message))
        if found and found.nullable and load.mode == LoadMode.INCREMENTAL:
            message = f"The cursor {load.cursor!r} may be empty; an incremental load never sees such rows."
            problems.append(_problem("load.cursor", "cursor_nullable", message, severity="warning"))
    if load.partition_column and load.mode == LoadMode.PARTITIONED:
        problems += _ordered(source, load.partition_column, "load.partition_column", needed=True)
    return problems


def find_target_problems(definition: FlowDefinition, target: EntitySchema | None) -> list[Problem]:
    """How mapped fields fit into a target entity that exists already; its own columns begin with `_`."""
    if target is None:
        return []
    problems = []
    base = ["nodes", definition.index_of("map"), "config", "fields"]
    existing = {item.name: item for item in target.fields}
    for index, field in enumerate(definition.map.fields):
        column = existing.get(field.target)
        given, wanted = find_type(field.type), find_type(column.type) if column else None
        if column is None or given is None or wanted is None:
            continue
        how, why = fit(given, wanted)
        path = path_text([*base, index, "type"])
        into = f"{field.target!r}: {given} into the target's {wanted}"
        if how == "impossible":
            problems.append(_problem(path, "type_not_accepted", f"{into} is not possible: {why}."))
        elif how == "lossy":
            problems.append(_problem(path, "lossy_conversion", f"{into} loses information: {why}.", severity="warning"))
        elif how == "checked":
            message = f"{into}: {why or 'a value that does not fit makes the load widen the column'}."
            problems.append(_problem(path, "checked_conversion", message, severity="warning"))
    mapped = {field.target for field in definition.map.fields}
    for item in target.fields:
        if not item.nullable and item.name not in mapped and not item.name.startswith("_"):
            message = f"The target's column {item.name!r} must not be empty, and nothing is mapped to it."
            problems.append(_problem(path_text(base), "required_not_mapped", message, severity="warning"))
    return problems


def _ordered(source: Schema, column: str, path: str, *, needed: bool) -> list[Problem]:
    found = source.find(column)
    severity = "error" if needed else "warning"
    if found is None or found.name != column:
        return [_problem(path, "cursor_unknown", f"The source has no column {column!r}.", severity=severity)]
    if _family(found.type) == "text":
        message = f"{column!r} is text; its order depends on the system, so rows can be missed."
        return [_problem(path, "cursor_is_text", message, severity="warning", hint="Prefer a time or a number.")]
    if _family(found.type) not in ORDERED:
        message = f"{column!r} is {found.type}, which has no usable order."
        return [_problem(path, "cursor_not_orderable", message, severity=severity)]
    return []


def _family(type_: str) -> str:
    found = find_type(type_)
    return found.family if found else ""


def _problem(path: str, code: str, message: str, *, severity: str = "error", hint: str | None = None) -> Problem:
    return Problem(path=path, code=f"integrations.{code}", message=message, severity=severity, hint=hint)
