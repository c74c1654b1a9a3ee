"""Event data against the dataclass of their type: conversion to JSON, check, and JSON Schema for the catalogue."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any
from uuid import UUID

from apps.core.exceptions import Problem
from apps.events.contracts import EventType
from apps.events.exceptions import EventInvalid

_JSON_TYPES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    Decimal: {"type": "string", "format": "decimal"},
}
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (types.NoneType,),
}


def to_payload(event_type: EventType, data: Any) -> dict[str, Any]:
    """The data as a JSON object, checked against the type.

    Args:
        event_type: type that is published.
        data: mapping of the payload's fields, or an instance of the payload dataclass.

    Raises:
        EventInvalid: a field is missing, unknown or of another type; the problems name each.
    """
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        data = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    if not isinstance(data, Mapping):
        raise EventInvalid(f"The data of {event_type.type} must be an object.")
    payload = {str(name): to_json(value) for name, value in data.items()}
    schema = build_schema(event_type)
    problems = [
        Problem(f"data.{name}", "events.field_missing", f"{name} is required.")
        for name in schema["required"]
        if name not in payload
    ]
    for name, value in payload.items():
        expected = schema["properties"].get(name)
        if expected is None:
            problems.append(Problem(f"data.{name}", "events.field_unknown", f"{event_type.type} has no field {name}."))
        elif not _fits(value, expected):
            found = type(value).__name__
            problems.append(Problem(f"data.{name}", "events.field_type", f"{name} may not be a {found}."))
    if problems:
        raise EventInvalid(problems[0].message, field=problems[0].path, problems=problems, type=event_type.type)
    return payload


def to_json(value: Any) -> Any:
    """The value in JSON's types: decimals and ids as text, times in UTC with `Z`."""
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, str):
        # Neither NUL nor a lone surrogate can be stored as JSONB.
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(inner) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise EventInvalid(f"An event cannot hold a {type(value).__name__}.", value=type(value).__name__)


@cache
def build_schema(event_type: EventType) -> dict[str, Any]:
    """JSON Schema (2020-12) of the type's data, from the payload's annotations."""
    hints = typing.get_type_hints(event_type.payload)
    fields = dataclasses.fields(event_type.payload)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:portal:event:{event_type.type}",
        "title": event_type.type,
        "description": event_type.description,
        "type": "object",
        "properties": {field.name: _schema_of(hints[field.name]) for field in fields},
        "required": [
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ],
        "additionalProperties": False,
    }


def _schema_of(hint: Any) -> dict[str, Any]:
    if hint in _JSON_TYPES:
        return dict(_JSON_TYPES[hint])
    if hint is types.NoneType:
        return {"type": "null"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema_of(argument) for argument in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (list, tuple, set, frozenset) or hint in (list, tuple):
        return {"type": "array", "items": _schema_of(arguments[0]) if arguments else {}}
    if origin is dict or hint is dict or (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
        return {"type": "object"}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    return {}


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(_fits(value, option) for option in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    expected = _PYTHON_TYPES.get(schema.get("type", ""))
    if expected is None:
        return True
    if isinstance(value, bool) and bool not in expected:
        return False
    return isinstance(value, expected)
