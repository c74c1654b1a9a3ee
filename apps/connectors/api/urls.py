"""Routes of the connectors app, relative to `/api/v2/`."""

from django.urls import path

from apps.connectors.api import captures, views

urlpatterns = [
    path("connectors", views.ConnectorListView.as_view(), name="connectors"),
    path("connections", views.ConnectionListView.as_view(), name="connections"),
    path("connections/check", views.DraftCheckView.as_view(), name="connection-check-draft"),
    path("connections/<uuid:connection_id>", views.ConnectionView.as_view(), name="connection"),
    path("connections/<uuid:connection_id>/restore", views.ConnectionRestoreView.as_view(), name="connection-restore"),
    path("connections/<uuid:connection_id>/check", views.ConnectionCheckView.as_view(), name="connection-check"),
    path("connections/<uuid:connection_id>/circuit", views.CircuitView.as_view(), name="connection-circuit"),
    path(
        "connections/<uuid:connection_id>/circuit/reset",
        views.CircuitResetView.as_view(),
        name="connection-circuit-reset",
    ),
    path("connections/<uuid:connection_id>/entities", views.EntityListView.as_view(), name="connection-entities"),
    path("connections/<uuid:connection_id>/entity", views.EntityView.as_view(), name="connection-entity"),
    path("connections/<uuid:connection_id>/sample", views.SampleView.as_view(), name="connection-sample"),
    path("connections/<uuid:connection_id>/uploads", views.UploadListView.as_view(), name="connection-uploads"),
    path("captures", captures.CaptureListView.as_view(), name="captures"),
    path("captures/<uuid:capture_id>", captures.CaptureView.as_view(), name="capture"),
    path("captures/<uuid:capture_id>/pause", captures.CapturePauseView.as_view(), name="capture-pause"),
    path("captures/<uuid:capture_id>/resume", captures.CaptureResumeView.as_view(), name="capture-resume"),
    path("captures/<uuid:capture_id>/restart", captures.CaptureRestartView.as_view(), name="capture-restart"),
    path("captures/<uuid:capture_id>/measure", captures.CaptureHealthView.as_view(), name="capture-measure"),
]
