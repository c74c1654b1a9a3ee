"""Routes of quality, relative to `/api/v2/`."""

from django.urls import path

from apps.quality.api import quarantine, reconciliations

urlpatterns = [
    path("quarantine", quarantine.QuarantineListView.as_view(), name="quarantine-list"),
    path("quarantine/summary", quarantine.QuarantineSummaryView.as_view(), name="quarantine-summary"),
    path("quarantine/discard", quarantine.QuarantineDiscardView.as_view(), name="quarantine-discard"),
    path("quarantine/<uuid:row_id>", quarantine.QuarantinedRowView.as_view(), name="quarantine-detail"),
    path("reconciliations", reconciliations.ReconciliationListView.as_view(), name="reconciliation-list"),
    path(
        "reconciliations/<uuid:reconciliation_id>",
        reconciliations.ReconciliationView.as_view(),
        name="reconciliation-detail",
    ),
    path(
        "reconciliations/<uuid:reconciliation_id>/sign",
        reconciliations.ReconciliationSignView.as_view(),
        name="reconciliation-sign",
    ),
]
