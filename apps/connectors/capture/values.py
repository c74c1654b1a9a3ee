"""PostgreSQL's text values as JSON, exactly: no amount passes through a float."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from json.encoder import encode_basestring

from apps.connectors.capture.pgoutput import Unchanged, Value
from apps.connectors.exceptions import CaptureStreamInvalid

BOOL, INT8, INT2, INT4, OID, JSON, FLOAT4, FLOAT8, TIMESTAMP, TIMESTAMPTZ, UUID, JSONB = (
    16, 20, 21, 23, 26, 114, 700, 701, 1114, 1184, 2950, 3802,
)  # fmt: skip
encode_text: Callable[[str], str] = encode_basestring
"""JSON text of a string; a tenth of the price of `json.dumps`, which makes an encoder for each call."""
INTEGERS = frozenset({INT2, INT4, INT8})


def encode(value: bytes, type_oid: int) -> str:
    """JSON text of a value in PostgreSQL's text format.

    Booleans, integers and JSON keep their kind; floats too unless JSON has no such number (NaN, Infinity); times become
    ISO 8601; everything else, decimals first, stays the text that PostgreSQL writes.

    Raises:
        CaptureStreamInvalid: the value is not of its type (what calls itself PostgreSQL need not be one).
    """
    try:
        return _ENCODERS.get(type_oid, encode_text)(value.decode())
    except (ValueError, RecursionError) as error:
        raise CaptureStreamInvalid(f"A value of the change stream cannot be read: {error}.") from error


def encode_object(names: list[tuple[str, int]], values: list[Value]) -> dict[str, str]:
    """JSON texts by column name; columns that were not sent are left out."""
    return {
        name: "null" if value is None else encode(value, type_oid)
        for (name, type_oid), value in zip(names, values, strict=True)
        if not isinstance(value, Unchanged)
    }


def dump_object(fragments: dict[str, str]) -> str:
    """A JSON object of JSON texts."""
    return "{" + ",".join(f"{encode_text(name)}:{text}" for name, text in fragments.items()) + "}"


def _encode_integer(text: str) -> str:
    if not text.lstrip("-").isdigit():
        raise ValueError("not an integer")
    return text


def _encode_float(text: str) -> str:
    return text if math.isfinite(float(text)) else encode_text(text)


def _encode_timestamp(text: str) -> str:
    return encode_text(text.replace(" ", "T", 1))  # `infinity` and years BC have a blank too, and stay readable


def _encode_timestamptz(text: str) -> str:
    text = text.replace(" ", "T", 1)
    return encode_text(text.removesuffix("+00") + "Z" if text.endswith("+00") else text)


def _encode_json(text: str) -> str:
    json.loads(text, parse_int=str, parse_float=str)
    # The type `json` takes escapes that JSONB cannot hold: NUL, and half a surrogate pair.
    return text if "\\u" not in text else _ESCAPE.sub(_storable, text)


def _storable(escape: re.Match[str]) -> str:
    found = escape[0]
    lone = len(found) == 6 and found[2:4].lower() in ("d8", "d9", "da", "db", "dc", "dd", "de", "df")
    return "\\ufffd" if lone or found == "\\u0000" else found


_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")
_ENCODERS: dict[int, Callable[[str], str]] = {
    BOOL: lambda text: "true" if text in ("t", "true") else "false",
    **dict.fromkeys((INT2, INT4, INT8, OID), _encode_integer),
    **dict.fromkeys((FLOAT4, FLOAT8), _encode_float),
    TIMESTAMP: _encode_timestamp,
    TIMESTAMPTZ: _encode_timestamptz,
    JSON: _encode_json,
    JSONB: _encode_json,
}
