"""Shape of the flow definition: the published JSON Schema, and its findings as problems with exact paths."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from apps.core.exceptions import Problem
from apps.integrations.exceptions import DefinitionInvalid

SCHEMA_ID = "flow/1"
PROCESS_SCHEMA_ID = "process/1"
SHOWN_CHARS = 60


@cache
def flow_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `flow/1`, as served at `/api/v2/schemas/flow-1.json`."""
    text = (files("apps.integrations") / "schemas" / "flow-1.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def process_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `process/1`, as served at `/api/v2/schemas/process-1.json`."""
    text = (files("apps.integrations") / "schemas" / "process-1.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator(schema_id: str) -> Draft202012Validator:
    return Draft202012Validator(process_schema() if schema_id == PROCESS_SCHEMA_ID else flow_schema())


def is_process(data: Any) -> bool:
    """Whether the JSON value calls itself a process."""
    return isinstance(data, Mapping) and data.get("schema") == PROCESS_SCHEMA_ID


def find_shape_problems(data: Any, schema_id: str | None = None) -> list[Problem]:
    """Every place at which the JSON value is not shaped like a definition, in document order.

    Args:
        data: the value.
        schema_id: the schema to hold it to; the one it names when absent.
    """
    wanted = schema_id or (PROCESS_SCHEMA_ID if is_process(data) else SCHEMA_ID)
    found = sorted(_validator(wanted).iter_errors(data), key=_document_order)
    return [problem for error in found for problem in _to_problems(error)]


def ensure_shape(data: Any) -> None:
    """Refuse a value that is not shaped like a load flow (`flow/1`).

    Raises:
        DefinitionInvalid: with one problem per place.
    """
    _refuse(find_shape_problems(data, SCHEMA_ID))


def ensure_process_shape(data: Any) -> None:
    """Refuse a value that is not shaped like a process (`process/1`).

    Raises:
        DefinitionInvalid: with one problem per place.
    """
    _refuse(find_shape_problems(data, PROCESS_SCHEMA_ID))


def _refuse(problems: list[Problem]) -> None:
    if problems:
        first = problems[0]
        where = f"{first.path}: " if first.path else ""
        raise DefinitionInvalid(f"{where}{first.message}", field=first.path or None, problems=problems)


def path_text(parts: Iterable[object]) -> str:
    """A path in the problems' notation: `nodes[1].config.fields[0].target`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _document_order(error: ValidationError) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, part) for part in error.absolute_path]


def _to_problems(error: ValidationError) -> Iterator[Problem]:
    path = path_text(error.absolute_path)
    schema: Any = error.schema
    wanted: Any = error.validator_value
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = schema.get("properties", {})
        for name in error.instance:
            if name not in known:
                allowed = ", ".join(known) or "none"
                yield Problem(
                    path=f"{path}.{name}" if path else name,
                    code="integrations.unknown_key",
                    message=f"There is no setting {name!r} here.",
                    hint=f"Known settings: {allowed}.",
                )
        return
    if error.validator == "required" and isinstance(error.instance, dict):
        for name in wanted:
            if name not in error.instance:
                yield Problem(
                    path=f"{path}.{name}" if path else name,
                    code="integrations.missing_key",
                    message=f"The setting {name!r} is missing.",
                )
        return
    if error.validator == "anyOf" and error.context:
        # "This or null": the branch for a present value says what is wrong; the null branch never helps.
        yield from _to_problems(error.context[0])
        return
    yield Problem(path=path, code="integrations.invalid_value", message=_sentence(error))


def _sentence(error: ValidationError) -> str:
    shown = json.dumps(error.instance, default=str)
    shown = shown if len(shown) <= SHOWN_CHARS else shown[:SHOWN_CHARS] + "…"
    rule: str = str(error.validator)
    limit: Any = error.validator_value
    if rule == "enum":
        return f"{shown} is not one of {', '.join(map(str, limit))}."
    if rule == "const":
        return f"{shown} must be {limit!r}."
    if rule == "type":
        wanted = " or ".join(limit) if isinstance(limit, list) else limit
        return f"{shown} must be of type {wanted}."
    if rule == "pattern":
        return f"{shown} does not have the expected form ({limit})."
    if rule in {"minLength", "minItems"}:
        return f"{shown} is too short; at least {limit}."
    if rule in {"maxLength", "maxItems", "maxProperties"}:
        return f"The value is too long; at most {limit}."
    if rule in {"minimum", "maximum"}:
        return f"{shown} must be {'at least' if rule == 'minimum' else 'at most'} {limit}."
    return error.message
