"""REST resources that need several apps at once."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import actor_of
from apps.core.exceptions import NotFound
from apps.portal.api.serializers import OverviewSerializer
from apps.portal.services.overview import build_overview


class OverviewView(APIView):
    """The tenant at a glance; each part only for those who may see it."""

    @extend_schema(responses=OverviewSerializer, operation_id="overview_retrieve")
    def get(self, request: Request) -> Response:
        """Counts, the latest runs and the connections that fail."""
        return Response(OverviewSerializer(build_overview(actor_of(request))).data)


@extend_schema(exclude=True)
class UnknownRouteView(APIView):
    """Everything below the API's root that no route claims: 404 as a problem document."""

    permission_classes = (AllowAny,)
    throttle_classes = ()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer any method the same way."""
        self.args, self.kwargs = args, kwargs
        request = self.initialize_request(request, *args, **kwargs)
        self.request = request
        self.headers = {}
        error = NotFound(
            "There is no such API route.", value=request.path, remedy="See /api/v2/docs/ for those there are."
        )
        self.response = self.finalize_response(request, self.handle_exception(error), *args, **kwargs)
        return self.response
