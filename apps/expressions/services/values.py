"""Python values as JSON values and as the text of the function list's examples."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any


def to_json_value(value: Any) -> Any:
    """A Python value as a JSON value: decimals, instants and NaN as text, bytes in hexadecimal."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return format(value, "f")
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case dict():
            return {str(key): to_json_value(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json_value(item) for item in value]
    return json.loads(json.dumps(value, default=str))


def to_display(value: Any) -> str:
    """A value as the function list shows it: `NULL`, `true`, `[1, 2]`, `2024-05-17`."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return f"[{', '.join(to_display(item) for item in value)}]"
    return str(value)
