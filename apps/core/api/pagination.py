"""Cursor paging for every list: stable while rows are added, no COUNT, one index range per page."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class CursorPage(CursorPagination):
    """`?cursor=&limit=`; newest first by time-ordered id; at most 200 rows a page."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    ordering = "-id"
    cursor_query_description = "Opaque position, taken from the `next` or `previous` address of a page."
    page_size_query_description = "Rows a page, 1 to 200 (default 50)."
