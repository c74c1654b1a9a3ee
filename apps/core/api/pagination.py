"""Cursor paging for every list: stable while rows are added, no COUNT, one index range per page."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

MAX_ROWS = 200


class LimitInput(serializers.Serializer[Any]):
    """`?limit=`."""

    limit = serializers.IntegerField(min_value=1, max_value=MAX_ROWS)


class CursorPage(CursorPagination):
    """`?cursor=&limit=`; newest first by time-ordered id; at most 200 rows a page."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = MAX_ROWS
    ordering = "-id"
    cursor_query_description = "Opaque position, taken from the `next` or `previous` address of a page."
    page_size_query_description = f"Rows a page, 1 to {MAX_ROWS} (default {page_size})."

    def get_page_size(self, request: Request) -> int:
        """The wanted number of rows.

        Raises:
            ValidationError: it is not a number from 1 to 200; a silent default would look like the end of the list.
        """
        if "limit" not in request.query_params:
            return self.page_size
        wanted = LimitInput(data={"limit": request.query_params["limit"]})
        wanted.is_valid(raise_exception=True)
        found: int = wanted.validated_data["limit"]
        return found

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any] | None:
        """One page of the rows, as a list."""
        self._key = queryset.model._meta.pk
        return super().paginate_queryset(queryset, request, view)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """The position in `?cursor=`, refused before the database sees what is no id.

        Raises:
            NotFound: no page handed it out.
        """
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                self._key.to_python(cursor.position)
            except ValidationError as error:
                raise NotFound(self.invalid_cursor_message) from error
        return cursor

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """The two parameters for the OpenAPI document, with their limits."""
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": self.page_size}
        return parameters
