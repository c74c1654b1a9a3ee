"""What a change of a JSON Schema breaks, and for whom: readers of new data, or readers of old data.

`forward` is broken when new data may not fit the old schema (consumers that exist today fail); `backward` when old data
may not fit the new one (a replay fails). What cannot be compared counts as breaking both: a false alarm costs a look, a
missed one an outage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apps.events.choices import Compatibility

FORWARD, BACKWARD = Compatibility.FORWARD.value, Compatibility.BACKWARD.value
BOTH = (BACKWARD, FORWARD)
# Keyword -> whether a larger value allows more.
BOUNDS = {
    "maximum": True, "exclusiveMaximum": True, "maxLength": True, "maxItems": True, "maxProperties": True,
    "minimum": False, "exclusiveMinimum": False, "minLength": False, "minItems": False, "minProperties": False,
}  # fmt: skip
ANNOTATIONS = {"title", "description", "examples", "default", "$id", "$schema", "$comment", "deprecated"}
COMPARED = {"type", "properties", "required", "additionalProperties", "items", "enum", "const", *BOUNDS, *ANNOTATIONS}


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        path: dotted path inside the data (`lines[].amount`); empty for the whole.
        message: a sentence.
        breaks: `backward`, `forward`, both or neither.
    """

    path: str
    message: str
    breaks: tuple[str, ...] = ()


def list_changes(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[Change]:
    """Every difference between two schemas, breaking ones included."""
    found = [*_types(old, new, path), *_values(old, new, path), *_bounds(old, new, path)]
    found += [*_properties(old, new, path), *_items(old, new, path)]
    for keyword in sorted((set(old) | set(new)) - COMPARED):
        if old.get(keyword) != new.get(keyword):
            found.append(Change(path, f"{keyword} was changed, which cannot be compared", BOTH))
    return found


def is_broken(mode: str, changes: list[Change]) -> bool:
    """Whether the changes break what the mode promises."""
    kept = {Compatibility.NONE: set(), Compatibility.FULL: set(BOTH)}.get(Compatibility(mode), {mode})
    return any(kept & set(change.breaks) for change in changes)


def _types(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Change]:
    before, after = _type_set(old), _type_set(new)
    if before == after:
        return
    breaks = []
    if not _covers(after, before):
        breaks.append(BACKWARD)
    if not _covers(before, after):
        breaks.append(FORWARD)
    yield Change(path, f"type {_said(before)} became {_said(after)}", tuple(breaks))


def _type_set(schema: Mapping[str, Any]) -> frozenset[str] | None:
    found = schema.get("type")
    if found is None:
        return None
    return frozenset([found] if isinstance(found, str) else found)


def _covers(wide: frozenset[str] | None, narrow: frozenset[str] | None) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    return all(one in wide or (one == "integer" and "number" in wide) for one in narrow)


def _said(types: frozenset[str] | None) -> str:
    return "any" if types is None else " or ".join(sorted(types))


def _values(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Change]:
    before, after = _allowed(old), _allowed(new)
    if before == after:
        return
    gone = before is None or (after is not None and [value for value in before if value not in after])
    added = after is None or (before is not None and [value for value in after if value not in before])
    if after is None:
        gone = False
    if before is None:
        added = False
    if gone:
        yield Change(path, "values were taken away", (BACKWARD,))
    if added:
        yield Change(path, "values were added", (FORWARD,))


def _allowed(schema: Mapping[str, Any]) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _bounds(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Change]:
    for keyword, larger_allows_more in BOUNDS.items():
        before, after = old.get(keyword), new.get(keyword)
        if before == after:
            continue
        looser = after is None or (before is not None and (after > before) == larger_allows_more)
        yield Change(path, f"{keyword} {before} became {after}", (FORWARD,) if looser else (BACKWARD,))


def _properties(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Change]:
    before, after = old.get("properties", {}), new.get("properties", {})
    was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
    was_open, is_open = old.get("additionalProperties", True), new.get("additionalProperties", True)
    if was_open != is_open:
        breaks = (FORWARD,) if is_open is True else (BACKWARD,) if was_open is True else BOTH
        yield Change(path, "further fields were allowed or forbidden", breaks)
    for name in sorted(set(before) - set(after)):
        breaks_ = [*([BACKWARD] if is_open is not True else []), *([FORWARD] if name in was_required else [])]
        yield Change(_join(path, name), "field was removed", tuple(breaks_))
    for name in sorted(set(after) - set(before)):
        breaks_ = [*([BACKWARD] if name in is_required else []), *([FORWARD] if was_open is not True else [])]
        yield Change(_join(path, name), "field was added", tuple(breaks_))
    for name in sorted(set(before) & set(after)):
        if name in was_required - is_required:
            yield Change(_join(path, name), "field became optional", (FORWARD,))
        if name in is_required - was_required:
            yield Change(_join(path, name), "field became required", (BACKWARD,))
        if isinstance(before[name], Mapping) and isinstance(after[name], Mapping):
            yield from list_changes(before[name], after[name], _join(path, name))
        elif before[name] != after[name]:
            yield Change(_join(path, name), "field's schema was changed, which cannot be compared", BOTH)


def _items(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Change]:
    before, after = old.get("items", {}), new.get("items", {})
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from list_changes(before, after, f"{path}[]")
    elif before != after:
        yield Change(f"{path}[]", "elements were changed, which cannot be compared", BOTH)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
