"""REST v2: reconciliations and their signatures."""

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
from apps.quality.models import Reconciliation
from apps.quality.selectors import filter_reconciliations, get_reconciliation_row
from apps.quality.services.reconciliation import sign_reconciliation


class ReconciliationListView(ListAPIView):
    """Reconciliations, newest first."""

    permission_classes = [HasPermission.of(read="reconciliation:view")]
    serializer_class = shapes.ReconciliationSerializer
    queryset = Reconciliation.objects.none()

    def get_queryset(self) -> QuerySet[Reconciliation]:
        """Reconciliations within the given limits."""
        return filter_reconciliations(**read_input(shapes.ReconciliationFilter, self.request.query_params))

    @extend_schema(operation_id="reconciliation_list", parameters=[shapes.ReconciliationFilter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Reconciliations within the given limits, newest first."""
        return self.list(request, *args, **kwargs)


class ReconciliationView(APIView):
    """One reconciliation."""

    permission_classes = [HasPermission.of(read="reconciliation:view")]

    @extend_schema(operation_id="reconciliation_get", responses=shapes.ReconciliationSerializer)
    def get(self, request: Request, reconciliation_id: UUID) -> Response:
        """The reconciliation with its breaks."""
        return Response(shapes.ReconciliationSerializer(get_reconciliation_row(reconciliation_id)).data)


class ReconciliationSignView(APIView):
    """Signing."""

    permission_classes = [HasPermission.of(read="reconciliation:view", write="reconciliation:sign")]

    @extend_schema(
        operation_id="reconciliation_sign", request=shapes.SignInput, responses=shapes.ReconciliationSerializer
    )
    def post(self, request: Request, reconciliation_id: UUID) -> Response:
        """Accept the load by signature; not by whoever started the run (403 `quality.self_signoff`)."""
        wanted = read_input(shapes.SignInput, request.data)
        sign_reconciliation(reconciliation_id, comment=wanted["comment"], actor=actor_of(request))
        return Response(shapes.ReconciliationSerializer(get_reconciliation_row(reconciliation_id)).data)
