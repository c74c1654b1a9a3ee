"""Rows as exact JSON: nothing that matters to money ever becomes a binary float, and nothing PostgreSQL refuses."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite, isnan
from typing import Any
from uuid import UUID

SAFE_INTEGER = 2**53 - 1
SEARCH_CHARS = 1000
PARSED_CHARS = 64 * 1024

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

_NUL_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_KEY = re.compile(r'"(?:[^"\\]|\\.)*"\s*:')
_PUNCTUATION = str.maketrans('{}[]",', "      ")


def _text(value: str) -> str:
    # jsonb has no NUL and no lone surrogate; both are shown as a visible sign so that the row is kept.
    if "\x00" in value:
        value = value.replace("\x00", "\u2400")
    if not value.isascii() and _LONE_SURROGATE.search(value):
        value = _LONE_SURROGATE.sub("\ufffd", value)
    return value


def _duration(value: timedelta) -> str:
    micros = value // timedelta(microseconds=1)
    return f"{micros} microseconds"


def _float(value: float) -> str:
    if isfinite(value):
        return repr(value)
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    str: _text,
    bool: lambda value: value,
    type(None): lambda value: value,
    int: lambda value: value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value),
    Decimal: lambda value: format(value, "f"),
    float: _float,
    datetime: lambda value: value.isoformat(),
    date: lambda value: value.isoformat(),
    time: lambda value: value.isoformat(),
    timedelta: _duration,
    UUID: str,
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
}


def to_exact(value: Any) -> Any:
    """A value as a JSON value that keeps every digit.

    Decimals, floats and integers beyond 2**53 become text; dates and times ISO 8601; bytes base64; lists and
    structs element by element. `apps.expressions` reads all of them back by the column's type.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value)
    if isinstance(value, Mapping):
        return {_text(str(name)): to_exact(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_exact(inner) for inner in value]
    for base, encode in _ENCODERS.items():
        if isinstance(value, base):
            return encode(value)
    return _text(str(value))


def encode_payload(payload: Mapping[str, Any] | str) -> tuple[str, str]:
    """A source row as JSON text, and its values as text to search in.

    Args:
        payload: {column: Python value}, or JSON text whose decimals are already strings.

    Returns:
        (JSON text, at most `SEARCH_CHARS` characters of values).
    """
    if isinstance(payload, str):
        text = _NUL_ESCAPE.sub("\\1\u2400", payload) if "\\u0000" in payload else payload
        return text, _search_text_of_json(text)
    exact = to_exact(payload)
    return _JSON.encode(exact), _search_text(exact)


def _search_text(exact: Mapping[str, Any]) -> str:
    parts: list[str] = []
    room = SEARCH_CHARS
    for value in exact.values():
        if value is None or isinstance(value, bool):
            continue
        part = value if isinstance(value, str) else str(value)
        parts.append(part[:room])
        room -= len(part) + 1
        if room <= 0:
            break
    return " ".join(parts)


def _search_text_of_json(text: str) -> str:
    # Parsing is five times faster than cutting the keys out, but not of a row with a field of many megabytes.
    if len(text) <= PARSED_CHARS:
        return _search_text(json.loads(text))
    return _KEY.sub(" ", text[: 2 * SEARCH_CHARS]).translate(_PUNCTUATION)[:SEARCH_CHARS]
