"""Addresses below `/api/v2/`."""

from __future__ import annotations

from django.urls import path

from apps.audit.api.audit import AuditView

urlpatterns = [path("audit", AuditView.as_view(), name="audit-list")]
