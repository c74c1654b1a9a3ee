"""REST v2 of the effects of a run on other systems, and what people say of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.engine.choices import EffectDecision, EffectOutcome
from apps.engine.models import Effect
from apps.engine.selectors import get_run, list_effects
from apps.engine.services.effect_decisions import NOTE_CHARS, decide_effect


class EffectDecisionSerializer(serializers.Serializer[Any]):
    """What a person said of an effect that nobody knew about."""

    decision = serializers.ChoiceField(choices=EffectDecision.choices)
    by = serializers.CharField()
    at = serializers.DateTimeField()
    note = serializers.CharField(allow_blank=True)


class EffectSerializer(serializers.ModelSerializer[Effect]):
    """One effect of one attempt at a step. `sent_at` is null where an earlier run had sent it."""

    outcome = serializers.ChoiceField(choices=EffectOutcome.choices, read_only=True)
    summary = serializers.DictField(read_only=True)
    repeats_run = serializers.UUIDField(
        source="repeats.run_id", read_only=True, allow_null=True, default=None, help_text="Run that had it before."
    )
    decision = serializers.SerializerMethodField()

    class Meta:
        model = Effect
        fields = [
            "id",
            "path",
            "attempt",
            "step_id",
            "connection",
            "operation",
            "target",
            "business_key",
            "idempotency_key",
            "payload_hash",
            "summary",
            "repeatable",
            "outcome",
            "external_reference",
            "repeats_run",
            "sent_at",
            "confirmed_at",
            "undone_at",
            "decision",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(EffectDecisionSerializer(allow_null=True))
    def get_decision(self, effect: Effect) -> dict[str, Any] | None:
        """What a person said."""
        return effect.decision


class DecideEffectSerializer(serializers.Serializer[Any]):
    """What is said of an effect."""

    decision = serializers.ChoiceField(choices=EffectDecision.choices)
    note = serializers.CharField(max_length=NOTE_CHARS, required=False, allow_blank=True, default="")


class EffectListView(generics.ListAPIView):
    """Effects of a run."""

    permission_classes = [HasPermission.of(read="run:view")]
    serializer_class = EffectSerializer
    queryset = Effect.objects.none()
    filter_backends: list[Any] = []

    def get_queryset(self) -> Any:
        """What the run in the address has done elsewhere, newest first; 404 when there is no such run."""
        if getattr(self, "swagger_fake_view", False):
            return self.queryset
        get_run(self.kwargs["run_id"])
        return list_effects(self.kwargs["run_id"]).select_related("repeats")


class EffectDecisionView(APIView):
    """Say whether an effect has happened."""

    permission_classes = [HasPermission.of(read="run:view", write=None)]

    @extend_schema(request=DecideEffectSerializer, responses=EffectSerializer, operation_id="runs_effects_decide")
    def post(self, request: Request, run_id: UUID, effect_id: UUID) -> Response:
        """The step that waits for it goes on accordingly."""
        given = DecideEffectSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        effect = decide_effect(run_id, effect_id, values["decision"], note=values["note"], actor=actor_of(request))
        return Response(EffectSerializer(effect).data)
