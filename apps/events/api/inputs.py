"""Reading what a request brings."""

from __future__ import annotations

from typing import Any


def read_input(serializer_class: type[Any], data: Any) -> dict[str, Any]:
    """The validated input, or a 422 with every problem by path."""
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    found: dict[str, Any] = serializer.validated_data
    return found
