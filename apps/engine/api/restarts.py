"""REST v2 of restarts: a run done again from one of its steps, with a preview of its effects."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.engine.api.effects import EffectSerializer
from apps.engine.api.serializers import RunSerializer
from apps.engine.api.views import run_to_json
from apps.engine.choices import EffectVerdict
from apps.engine.selectors import get_run
from apps.engine.services.restart_plans import RestartRequest
from apps.engine.services.restart_previews import RestartPreview, preview_restart
from apps.engine.services.restarting import restart_run

PATH_CHARS = 1400
PATHS_MOST = 500
CanAct = HasPermission.of(read="run:view", write=None)


class RestartPreviewRequestSerializer(serializers.Serializer[Any]):
    """Where a run is to be done again from, and with what."""

    path = serializers.CharField(max_length=PATH_CHARS)
    parameters = serializers.DictField(required=False, allow_null=True, help_text="Input in place of the old run's.")
    outputs = serializers.DictField(
        child=serializers.DictField(), required=False, help_text="{path: output} in place of what kept steps left."
    )


class RestartSerializer(RestartPreviewRequestSerializer):
    """A restart, and the preview that was seen."""

    again = serializers.ListField(
        child=serializers.CharField(max_length=PATH_CHARS),
        required=False,
        max_length=PATHS_MOST,
        help_text="Paths whose effects are wanted once more, although they have happened.",
    )
    preview = serializers.CharField(max_length=64, help_text="`hash` of the preview.")


class EffectForecastSerializer(serializers.Serializer[Any]):
    """One known effect of a step that is done again, and what becomes of it."""

    effect = EffectSerializer()
    name = serializers.CharField(help_text="Of the step.")
    verdict = serializers.ChoiceField(choices=EffectVerdict.choices)
    reason = serializers.CharField()


class RestartPreviewSerializer(serializers.Serializer[Any]):
    """What a restart would do; `more` effects are not listed."""

    path = serializers.CharField()
    parameters = serializers.DictField()
    kept = serializers.IntegerField()
    redone = serializers.IntegerField()
    effects = EffectForecastSerializer(many=True)
    more = serializers.IntegerField()
    hash = serializers.CharField()


class RestartPreviewView(APIView):
    """What a restart would do to other systems."""

    permission_classes = [CanAct]

    @extend_schema(
        parameters=[OpenApiParameter("path", OpenApiTypes.STR, required=True, description="Step to begin with.")],
        responses=RestartPreviewSerializer,
    )
    def get(self, request: Request, run_id: UUID) -> Response:
        """With the run's own input."""
        return self._preview(request, run_id, request.query_params)

    @extend_schema(request=RestartPreviewRequestSerializer, responses=RestartPreviewSerializer)
    def post(self, request: Request, run_id: UUID) -> Response:
        """With an edited input, or edited outputs of kept steps. Nothing is changed."""
        return self._preview(request, run_id, request.data)

    def _preview(self, request: Request, run_id: UUID, data: Any) -> Response:
        get_run(run_id)
        given = RestartPreviewRequestSerializer(data=data)
        given.is_valid(raise_exception=True)
        shown: RestartPreview = preview_restart(_to_request(run_id, given.validated_data), actor=actor_of(request))
        return Response(RestartPreviewSerializer(shown).data)


class RestartView(APIView):
    """Do a run again from one of its steps."""

    permission_classes = [CanAct]

    @extend_schema(request=RestartSerializer, responses={202: RunSerializer})
    def post(self, request: Request, run_id: UUID) -> Response:
        """The answer is the new run; 409 when the preview is outdated."""
        get_run(run_id)
        given = RestartSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        run = restart_run(_to_request(run_id, values), preview=values["preview"], actor=actor_of(request))
        return Response(run_to_json(get_run(run.pk), actor_of(request)), status=status.HTTP_202_ACCEPTED)


def _to_request(run_id: UUID, values: dict[str, Any]) -> RestartRequest:
    return RestartRequest(
        run_id=run_id,
        path=values["path"],
        parameters=values.get("parameters"),
        outputs=values.get("outputs") or {},
        again=tuple(dict.fromkeys(values.get("again") or ())),
    )
