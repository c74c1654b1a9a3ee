"""Routes of tenants, relative to `/api/v2/` on the platform's own host."""

from django.urls import path

from apps.tenancy.api import views

urlpatterns = [
    path("tenants", views.TenantListView.as_view(), name="tenant-list"),
    path("tenants/<uuid:tenant_id>", views.TenantView.as_view(), name="tenant-detail"),
    path("tenants/<uuid:tenant_id>/domains", views.TenantDomainsView.as_view(), name="tenant-domains"),
    path("tenants/<uuid:tenant_id>/domains/<str:domain>", views.TenantDomainView.as_view(), name="tenant-domain"),
]
