"""Canonical JSON (RFC 8785) of the values an audit entry may hold.

Restricted to what has exactly one spelling: text, whole numbers below 2**53, booleans, null, lists and objects. Then
the standard library's C encoder gives the very bytes of RFC 8785 (a test compares it with the `rfc8785` package) at ten
times that package's speed, which is what verifying a million entries in a minute needs. Anything else (decimals,
dates, ids, floats) becomes text before it is stored, so that PostgreSQL's JSONB cannot spell it another way later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from apps.audit.exceptions import AuditFactsInvalid

MAX_SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 12

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def to_canonical(value: Any) -> bytes:
    """Bytes of a normalised value (see `normalise`)."""
    return _encode(value).encode()


def format_time(moment: datetime) -> str:
    """UTC with microseconds and `Z`: the one spelling of a time in the chain."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def normalise(value: Any, *, depth: int = 0) -> Any:
    """The value as text, whole numbers, booleans, null, lists and objects with ASCII names.

    Raises:
        AuditFactsInvalid: nested deeper than 12, or of a type that has no obvious spelling.
    """
    if depth > MAX_DEPTH:
        raise AuditFactsInvalid("The facts of an audit entry are nested too deeply.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return normalise(value.value, depth=depth)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        return value if abs(value) <= MAX_SAFE_INTEGER else str(value)
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, float | Decimal | UUID | date):
        return str(value)
    if isinstance(value, Mapping):
        return {_name(key): normalise(inner, depth=depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [normalise(inner, depth=depth + 1) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted((normalise(inner, depth=depth + 1) for inner in value), key=str)
    raise AuditFactsInvalid(f"An audit entry cannot hold a {type(value).__name__}.", value=type(value).__name__)


def clean_text(text: str) -> str:
    """Text that PostgreSQL and UTF-8 can hold: no NUL, no lone surrogate."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _name(key: Any) -> str:
    # RFC 8785 sorts names by UTF-16 units, Python by code points; for ASCII both agree.
    name = str(key)
    return (
        name if name.isascii() and "\x00" not in name else name.encode("unicode_escape").decode().replace("\\x00", "")
    )
