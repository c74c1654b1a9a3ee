"""REST v2 routes of the front ends, relative to /api/v2/."""

from django.urls import path

from apps.frontends.api.views import FailureReportView

urlpatterns = [path("frontends/reports", FailureReportView.as_view(), name="frontend_reports")]
