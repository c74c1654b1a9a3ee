"""What other systems send, on its way to an event: bodies to the digit, and the types that it may become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from apps.events.contracts import to_full_type
from apps.events.exceptions import EventInvalid
from apps.events.models import ContractVersion
from apps.events.registries import event_types
from apps.events.services.event_contracts import check_data
from apps.events.services.payloads import to_json

MAX_DEPTH = 100
"""Levels of a foreign body; whatever walks through it later may recurse."""


def read_json(body: bytes) -> tuple[Any, str]:
    """The value of a JSON body, and its own text, in which no number has lost a digit.

    Raises:
        EventInvalid: it is not JSON in UTF-8, or nested too deeply.
    """
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse)
        _check_depth(value)
        if "\\u" in text:
            # Escapes may hide NUL and lone surrogates, which JSONB refuses.
            text = dump_exact(load_exact(text))
    except RecursionError:
        raise EventInvalid(f"The body is nested more than {MAX_DEPTH} levels deep.") from None
    except ValueError as error:
        raise EventInvalid(f"The body is not JSON in UTF-8: {str(error)[:200]}") from None
    return value, text


def load_exact(text: str) -> Any:
    """The value of JSON in which numbers with a fraction are kept as they were written; for `dump_exact`."""
    return json.loads(text, parse_float=_Number)


def dump_exact(value: Any) -> str:
    """JSON text of a value of `load_exact`, with strings that JSONB can hold."""
    if isinstance(value, _Number):
        return str.__str__(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dump_exact(str(name))}: {dump_exact(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(dump_exact(one) for one in value) + "]"
    return json.dumps(to_json(value), ensure_ascii=False)


def find_schema(type_: str) -> Mapping[str, Any] | None:
    """The latest schema of a type that the tenant defined; None for one that it did not."""
    versions = ContractVersion.objects.filter(contract__type=type_).order_by("-number")
    found: Mapping[str, Any] | None = versions.values_list("schema", flat=True).first()
    return found


def check_foreign_type(type_: str, *, portal_type: str) -> str:
    """The full type that events of other systems get: the portal's one for them, or one that the tenant defined.

    Raises:
        EventInvalid: any other; a sender could otherwise announce what only the portal knows.
    """
    full = to_full_type(type_) if event_types.find(to_full_type(type_)) else type_
    if full == portal_type or find_schema(full) is not None:
        return full
    raise EventInvalid(
        f"The type {type_} is not defined here.",
        field="event_type",
        value=type_,
        remedy=f"Use {portal_type}, or define the type under event contracts.",
    )


def check_against(schema: Mapping[str, Any], value: Any) -> None:
    """Refuse data that do not fit a tenant's schema.

    Raises:
        EventInvalid: with a problem for each place.
    """
    check_data(schema, to_json(value))


def _check_depth(value: Any) -> None:
    level = [value]
    for _depth in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise RecursionError


class _Number(str):
    """A JSON number with a fraction, as it was written."""

    __slots__ = ()


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
