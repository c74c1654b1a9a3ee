"""URLs under /api/v2/."""

from __future__ import annotations

from django.urls import path

from apps.expressions.api.expressions import CheckView, EvaluateView, FunctionsView

urlpatterns = [
    path("expressions/check", CheckView.as_view(), name="expression-check"),
    path("expressions/evaluate", EvaluateView.as_view(), name="expression-evaluate"),
    path("expressions/functions", FunctionsView.as_view(), name="expression-functions"),
]
