"""What a request brings, checked by a serializer."""

from __future__ import annotations

from typing import Any

from rest_framework.serializers import BaseSerializer


def read_input(serializer_class: type[BaseSerializer[Any]], data: Any) -> dict[str, Any]:
    """The validated input.

    Args:
        serializer_class: shape of the body or of the query parameters; what it does not name is ignored.
        data: `request.data` or `request.query_params`.

    Raises:
        ValidationError: 422 with every problem by path.
    """
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    found: dict[str, Any] = serializer.validated_data
    return found
