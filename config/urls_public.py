"""URLs of the platform's own host: tenants are made and governed here by the platform's staff."""

from django.contrib import admin
from django.urls import include, path

from apps.portal.views import platform_home

handler500 = "apps.portal.views.server_error"
handler404 = "apps.portal.views.page_not_found"
handler403 = "apps.portal.views.permission_denied"
handler400 = "apps.portal.views.bad_request"

urlpatterns = [
    path("", platform_home, name="home"),
    path("accounts/", include("allauth.urls")),
    path("api/v2/", include("apps.portal.api.urls_public")),
    path("admin/", admin.site.urls),
]
