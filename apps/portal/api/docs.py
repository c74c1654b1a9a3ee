"""The OpenAPI document, and the page that shows and tries it out. Both are open: they hold no tenant's data."""

from __future__ import annotations

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response


@cache
def _document() -> dict[str, Any]:
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


class SchemaView(SpectacularAPIView):
    """The OpenAPI document, drawn once per process: drawing takes a second of CPU, and anybody may ask."""

    def _get_schema_response(self, request: Request) -> Response:
        headers = {"Content-Disposition": f'inline; filename="{self._get_filename(request, None)}"'}
        return Response(_document(), headers=headers)


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI whose script has an address of its own: the content security policy allows none inline."""

    template_name = "portal/api_docs.html"
