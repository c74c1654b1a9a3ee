"""REST v2: rejected rows. Replaying them starts a run, so that verb belongs to the engine."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.inputs import read_input
from apps.quality.api import serializers as shapes
from apps.quality.models import QuarantinedRow
from apps.quality.selectors import filter_quarantine, get_quarantined_row, show_bounded, summarise_quarantine
from apps.quality.services.quarantine import correct_row, discard_rows


class QuarantineListView(ListAPIView):
    """Rejected rows, newest first."""

    permission_classes = [HasPermission.of(read="quarantine:view")]
    serializer_class = shapes.QuarantinedRowSerializer
    queryset = QuarantinedRow.objects.none()

    def get_queryset(self) -> QuerySet[QuarantinedRow]:
        """Rows within the given limits; a row of more than 64 KB is listed without its payload."""
        return show_bounded(filter_quarantine(**read_input(shapes.QuarantineFilter, self.request.query_params)))

    @extend_schema(operation_id="quarantine_list", parameters=[shapes.QuarantineFilter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Rejected rows within the given limits, newest first."""
        return self.list(request, *args, **kwargs)


class QuarantineSummaryView(APIView):
    """Rejected rows by rule."""

    permission_classes = [HasPermission.of(read="quarantine:view")]

    @extend_schema(
        operation_id="quarantine_summary",
        parameters=[shapes.QuarantineFilter],
        responses=shapes.QuarantineSummarySerializer,
    )
    def get(self, request: Request) -> Response:
        """Counts by broken rule and by status, within the same limits as the list."""
        rows = filter_quarantine(**read_input(shapes.QuarantineFilter, request.query_params))
        return Response(shapes.QuarantineSummarySerializer(summarise_quarantine(rows)).data)


class QuarantinedRowView(APIView):
    """One rejected row."""

    permission_classes = [HasPermission.of(read="quarantine:view", write="quarantine:edit")]

    @extend_schema(operation_id="quarantine_get", responses=shapes.QuarantinedRowSerializer)
    def get(self, request: Request, row_id: UUID) -> Response:
        """The whole row."""
        return Response(shapes.QuarantinedRowSerializer(get_quarantined_row(row_id)).data)

    @extend_schema(
        operation_id="quarantine_correct", request=shapes.CorrectionInput, responses=shapes.QuarantinedRowSerializer
    )
    def patch(self, request: Request, row_id: UUID) -> Response:
        """Correct source values; 422 with the broken rules while the row still breaks some."""
        wanted = read_input(shapes.CorrectionInput, request.data)
        row = correct_row(row_id, wanted["corrected"], note=wanted["note"], actor=actor_of(request))
        return Response(shapes.QuarantinedRowSerializer(row).data)


class QuarantineDiscardView(APIView):
    """Giving rejected rows up."""

    permission_classes = [HasPermission.of(read="quarantine:view", write="quarantine:edit")]

    @extend_schema(operation_id="quarantine_discard", request=shapes.DiscardInput, responses=shapes.DiscardResult)
    def post(self, request: Request) -> Response:
        """Discard rows with a reason; all or none."""
        wanted = read_input(shapes.DiscardInput, request.data)
        return Response({"discarded": discard_rows(wanted["ids"], wanted["reason"], actor=actor_of(request))})
