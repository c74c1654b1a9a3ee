"""REST v2 of a tenant: every app contributes its own routes."""

from django.urls import include, path

from apps.portal.api.docs import DocsView, SchemaView
from apps.portal.api.views import OverviewView, UnknownRouteView

urlpatterns = [
    path("overview", OverviewView.as_view(), name="overview"),
    path("", include("apps.frontends.api.urls")),
    path("", include("apps.access.api.urls")),
    path("", include("apps.audit.api.urls")),
    path("", include("apps.events.api.urls")),
    path("", include("apps.expressions.api.urls")),
    path("", include("apps.connectors.api.urls")),
    path("", include("apps.quality.api.urls")),
    path("", include("apps.integrations.api.urls")),
    path("", include("apps.engine.api.urls")),
    path("", include("apps.messaging.api.urls")),
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", DocsView.as_view(url_name="schema"), name="docs"),
    path("<path:rest>", UnknownRouteView.as_view()),
]
