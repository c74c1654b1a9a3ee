"""A first mapping, guessed from names and types. Every guess says how sure it is and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.connectors.contracts import EntityField, EntitySchema
from apps.expressions.types import find_type, fit, quote_name
from apps.integrations.exceptions import SourceUnknown
from apps.integrations.services.naming import compare_names, to_snake, written_out
from apps.integrations.services.sources import describe_entity

SURE_ENOUGH = 0.55
_PLAIN = re.compile(r"^[a-z_][a-z0-9_]*$")
_RESERVED = frozenset({
    "all", "and", "any", "array", "as", "asc", "between", "both", "case", "cast", "check", "collate", "column",
    "constraint", "create", "default", "desc", "distinct", "do", "else", "end", "except", "false", "fetch", "for",
    "foreign", "from", "grant", "group", "having", "in", "initially", "into", "is", "lateral", "leading", "like",
    "limit", "map", "not", "null", "offset", "on", "only", "or", "order", "placing", "primary", "references",
    "select", "some", "struct", "table", "then", "to", "trailing", "true", "union", "unique", "using", "var", "when",
    "where", "window", "with", "mapped",
})  # fmt: skip
_CURSOR_WORDS = ("updated", "update", "modified", "changed", "change", "last", "created")
_FITS = {"same": (1.0, ""), "widening": (0.98, ""), "checked": (0.85, "checked row by row"), "lossy": (0.7, "rounded")}


@dataclass(frozen=True)
class SuggestedField:
    """One guess. `expression` is empty and `confidence` 0 where no source column fits."""

    target: str
    type: str
    expression: str
    nullable: bool
    confidence: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The guess as a JSON object."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Suggestion:
    """A first mapping. `keys` are target columns, `cursor` a source column."""

    fields: tuple[SuggestedField, ...]
    keys: tuple[str, ...]
    cursor: str | None


def suggest_mapping(
    connection_id: UUID,
    entity: str,
    *,
    actor: Actor,
    target_connection_id: UUID | None = None,
    target_entity: str | None = None,
) -> Suggestion:
    """Guess the mapping between two entities, or from one entity to a new one.

    Args:
        connection_id, entity: source.
        actor: needs `flow:edit` and `connection:use`.
        target_connection_id, target_entity: existing target; a target that does not exist yet is as none.

    Raises:
        SourceUnknown: the source cannot be described; says why.
    """
    check_permission(actor, "flow:edit")
    check_permission(actor, "connection:use")
    source = describe_entity(connection_id, entity, live=True)
    if source.entity is None:
        fault = source.fault
        raise SourceUnknown(
            fault.message if fault else None, field="entity", value=entity, remedy=fault.remedy if fault else None
        )
    target = None
    if target_connection_id is not None and target_entity:
        target = describe_entity(target_connection_id, target_entity, live=True).entity
    return build_suggestion(source.entity, target)


def build_suggestion(source: EntitySchema, target: EntitySchema | None) -> Suggestion:
    """As `suggest_mapping`, for known schemas; pure."""
    wanted = [] if target is None else [item for item in target.fields if not item.name.startswith("_")]
    if target is None or not wanted:
        fields, origin = _copy_all(source)
    else:
        fields, origin = _match(source, target, wanted)
    keys = _guess_keys(source, target, fields, origin)
    fields = [
        SuggestedField(f.target, f.type, f.expression, f.nullable and f.target not in keys, f.confidence, f.reason)
        for f in fields
    ]
    return Suggestion(fields=tuple(fields), keys=keys, cursor=_guess_cursor(source))


def _copy_all(source: EntitySchema) -> tuple[list[SuggestedField], dict[str, str]]:
    fields: list[SuggestedField] = []
    origin: dict[str, str] = {}
    for item in source.fields:
        name = _unused(to_snake(item.name), origin)
        origin[name] = item.name
        reason = "copied from the source" if name == item.name else f"copied from {item.name}"
        fields.append(SuggestedField(name, item.type, column_text(item.name), item.nullable, 1.0, reason))
    return fields, origin


def _match(
    source: EntitySchema, target: EntitySchema, wanted: Sequence[EntityField]
) -> tuple[list[SuggestedField], dict[str, str]]:
    scored = []
    for place, column in enumerate(wanted):
        for item in source.fields:
            confidence, expression, reason = _score(item, column, source, target)
            if confidence >= SURE_ENOUGH:
                scored.append((-confidence, abs(item.position - column.position), place, item, expression, reason))
    scored.sort(key=lambda entry: entry[:3])
    chosen: dict[int, tuple[float, EntityField, str, str]] = {}
    taken: set[str] = set()
    for negative, _, place, item, expression, reason in scored:
        if place not in chosen and item.name not in taken:
            chosen[place] = (-negative, item, expression, reason)
            taken.add(item.name)
    fields, origin = [], {}
    for place, column in enumerate(wanted):
        if place not in chosen:
            reason = "no source column fits"
            fields.append(SuggestedField(column.name, column.type, "", column.nullable, 0.0, reason))
            continue
        confidence, item, expression, reason = chosen[place]
        origin[column.name] = item.name
        fields.append(
            SuggestedField(column.name, column.type, expression, column.nullable, round(confidence, 2), reason)
        )
    return fields, origin


def _score(
    item: EntityField, column: EntityField, source: EntitySchema, target: EntitySchema
) -> tuple[float, str, str]:
    given, wanted = find_type(item.type), find_type(column.type)
    if given is None or wanted is None:
        return 0.0, "", ""
    how, _ = fit(given, wanted)
    if how not in _FITS:
        return 0.0, "", ""
    names = compare_names(item.name, column.name, source_entity=source.name, target_entity=target.name)
    factor, note = _FITS[how]
    expression = column_text(item.name)
    if how == "lossy" and wanted.kind == "DECIMAL" and given.is_number:
        expression = f"round({expression}, {wanted.scale})"
    reason = names.reason + (f"; {given} to {wanted}, {note}" if note else "")
    return names.score * factor, expression, reason


def _guess_keys(
    source: EntitySchema, target: EntitySchema | None, fields: Sequence[SuggestedField], origin: dict[str, str]
) -> tuple[str, ...]:
    mapped = {field.target for field in fields if field.expression}
    if target is not None and target.keys and set(target.keys) <= mapped:
        return target.keys
    by_source = {column: name for name, column in origin.items()}
    if source.keys and all(key in by_source for key in source.keys):
        return tuple(by_source[key] for key in source.keys)
    own = written_out(source.name.rsplit(".", 1)[-1])
    for item in source.fields:
        words = written_out(item.name)
        is_id = words == ("id",) or (
            words[-1] in {"id", "number"} and words[:-1] and words[0] == own[0].removesuffix("s")
        )
        if is_id and item.name in by_source:
            return (by_source[item.name],)
    return ()


def _guess_cursor(source: EntitySchema) -> str | None:
    if source.cursor_candidates:
        return source.cursor_candidates[0]
    moments = [item for item in source.fields if _is_moment(item)]
    for word in _CURSOR_WORDS:
        for item in moments:
            if word in written_out(item.name):
                return item.name
    return None


def _is_moment(item: EntityField) -> bool:
    found = find_type(item.type)
    return found is not None and found.family in {"timestamp", "timestamptz"}


def column_text(name: str) -> str:
    """A column as it is written in an expression: quoted only where it must be."""
    return name if _PLAIN.match(name) and name not in _RESERVED else quote_name(name)


def _unused(name: str, taken: dict[str, str]) -> str:
    if name not in taken:
        return name
    return next(f"{name[:60]}_{number}" for number in range(2, len(taken) + 3) if f"{name[:60]}_{number}" not in taken)
