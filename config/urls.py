"""URLs of a tenant's host."""

from django.contrib import admin
from django.urls import include, path, re_path

from apps.frontends.views import shell
from apps.portal.views import home

handler500 = "apps.portal.views.server_error"
handler404 = "apps.portal.views.page_not_found"
handler403 = "apps.portal.views.permission_denied"
handler400 = "apps.portal.views.bad_request"

urlpatterns = [
    path("", home, name="home"),
    path("accounts/", include("apps.access.urls")),
    path("accounts/", include("allauth.urls")),
    path("api/v2/", include("apps.portal.api.urls")),
    path("admin/", admin.site.urls),
    # Every page of the browser's router; an address that none of them claims is a 404 from the server.
    re_path(
        r"^(?:overview|connections|flows|runs|quarantine|tasks|events|triggers|settings)(?:/.*)?$", shell, name="shell"
    ),
]
