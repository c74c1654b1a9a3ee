"""The page that shows and tries out the API."""

from __future__ import annotations

from drf_spectacular.views import SpectacularSwaggerSplitView


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI whose script has an address of its own: the content security policy allows none inline."""

    template_name = "portal/api_docs.html"
