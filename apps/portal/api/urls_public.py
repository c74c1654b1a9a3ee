"""REST v2 of the platform's own host."""

from django.urls import include, path

from apps.portal.api.views import UnknownRouteView

urlpatterns = [
    path("", include("apps.tenancy.api.urls")),
    path("<path:rest>", UnknownRouteView.as_view()),
]
