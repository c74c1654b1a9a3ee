"""Failures that browsers report."""

from __future__ import annotations

import structlog
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.frontends.api.serializers import FailureReportSerializer

log = structlog.get_logger(__name__)


class FailureReportView(APIView):
    """Takes the report behind the id on an error card into the log, where support finds it by that id."""

    @extend_schema(request=FailureReportSerializer, responses={204: None}, summary="Report a failed micro-frontend")
    def post(self, request: Request) -> Response:
        """Log one failure; nothing is stored."""
        body = FailureReportSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        report = body.validated_data
        log.warning(
            "frontends.remote_failed",
            report_id=report["report_id"],
            remote=report["remote"],
            phase=report["phase"],
            message=report["message"],
            stack=report.get("stack"),
            release=report["release"],
            page=report["path"],
        )
        return Response(status=status.HTTP_204_NO_CONTENT)
