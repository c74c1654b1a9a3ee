"""`/api/v2/event-subscriptions`: what is delivered where, how it fares, and what a person can do about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.events.api.events import CloudEventOutput
from apps.events.api.inputs import read_input
from apps.events.choices import SubscriptionStatus
from apps.events.models import EventSubscription, Replay
from apps.events.selectors import get_event_subscription, list_event_subscriptions
from apps.events.services import deliveries, replays, subscriptions

OPEN_STATES = [one for one in SubscriptionStatus.values if one != SubscriptionStatus.ARCHIVED]


class SubscriptionHealthOutput(serializers.Serializer):
    """How the target fares."""

    state = serializers.ChoiceField(choices=["unknown", "healthy", "failing"])
    delivered = serializers.IntegerField()
    failures = serializers.IntegerField(help_text="Failed attempts since the last good one.")
    failing_since = serializers.DateTimeField(allow_null=True)
    last_success_at = serializers.DateTimeField(allow_null=True)
    last_failure_at = serializers.DateTimeField(allow_null=True)
    last_error = serializers.CharField(allow_blank=True)
    hold_until = serializers.DateTimeField(allow_null=True, help_text="The target asked for a pause.")
    waiting = serializers.IntegerField()
    retrying = serializers.IntegerField()
    dead = serializers.IntegerField()


class SigningKeyOutput(serializers.Serializer):
    """A secret that signs; its value is never shown again."""

    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)


class SubscriptionOutput(serializers.ModelSerializer):
    """A subscription with the health of its target."""

    status = serializers.ChoiceField(choices=SubscriptionStatus.choices, read_only=True)
    health = serializers.SerializerMethodField()
    signing_keys = SigningKeyOutput(many=True, read_only=True)

    class Meta:
        model = EventSubscription
        fields = [
            "id", "name", "description", "types", "filter", "ordered", "key_expression", "block_on_dead", "target",
            "config", "status", "status_reason", "disabled_position", "signing_keys", "health", "created_at",
            "updated_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_health(self, row: EventSubscription) -> SubscriptionHealthOutput:
        """Counts and last outcomes; `list_event_subscriptions` brought the counts."""
        state = "failing" if row.failing_since else "healthy" if row.last_success_at else "unknown"
        return SubscriptionHealthOutput(
            {
                **{
                    name: getattr(row, name)
                    for name in (
                        "delivered",
                        "failures",
                        "failing_since",
                        "last_success_at",
                        "last_failure_at",
                        "last_error",
                        "hold_until",
                    )
                },
                "state": state,
                "waiting": getattr(row, "waiting_count", 0),
                "retrying": getattr(row, "failed_count", 0),
                "dead": getattr(row, "dead_count", 0),
            }
        ).data  # type: ignore[return-value]


class SubscriptionWithSecretOutput(SubscriptionOutput):
    """A subscription with its signing secret, in the one answer that ever holds it."""

    secret = serializers.CharField(allow_null=True, help_text="Keep it; it is not shown again.")

    class Meta(SubscriptionOutput.Meta):
        fields = [*SubscriptionOutput.Meta.fields, "secret"]
        read_only_fields = fields


class SubscriptionInput(serializers.Serializer):
    """A new subscription."""

    name = serializers.CharField(max_length=100)
    description = serializers.CharField(max_length=500, allow_blank=True, default="")
    types = serializers.ListField(child=serializers.CharField(max_length=150), default=lambda: ["*"], max_length=50)
    filter = serializers.CharField(
        max_length=2000, allow_blank=True, default="", help_text="SQL condition, e.g. `data->>'status' = 'failed'`."
    )
    ordered = serializers.BooleanField(default=True)
    key_expression = serializers.CharField(max_length=2000, allow_blank=True, default="")
    block_on_dead = serializers.BooleanField(default=False)
    target = serializers.CharField(max_length=30, default="webhook")
    config = serializers.JSONField(help_text='For a webhook `{"url": "https://…", "headers": {}}`.')
    secret = serializers.CharField(
        required=False, max_length=100, write_only=True, help_text="A signing secret of yours; made when absent."
    )

    def validate_config(self, value: Any) -> dict[str, Any]:
        """An object."""
        if not isinstance(value, dict):
            raise serializers.ValidationError("The settings are an object.")
        return value


class SubscriptionChangeInput(SubscriptionInput):
    """What changes; the rest stays."""

    target = None  # type: ignore[assignment]
    secret = None  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "partial": True})


class SubscriptionListFilter(serializers.Serializer):
    """Limits of the list."""

    status = serializers.ChoiceField(choices=OPEN_STATES, required=False)
    target = serializers.CharField(required=False)
    search = serializers.CharField(required=False)


class RotateInput(serializers.Serializer):
    """How to rotate."""

    overlap_s = serializers.IntegerField(min_value=0, max_value=7 * 86_400, default=86_400)
    secret = serializers.CharField(required=False, max_length=100)


class ReasonInput(serializers.Serializer):
    """Why."""

    reason = serializers.CharField(max_length=200, allow_blank=True, default="")


class DeadLetterInput(serializers.Serializer):
    """Which dead letters; all when absent."""

    ids = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=1000)


class DeadLetterDiscardInput(DeadLetterInput):
    """Which dead letters are given up, and why."""

    reason = serializers.CharField(max_length=200)


class CountOutput(serializers.Serializer):
    """How many."""

    count = serializers.IntegerField()


class TestOutput(serializers.Serializer):
    """The event whose delivery shows whether the target takes events."""

    event = serializers.UUIDField()


class ReplayRangeInput(serializers.Serializer):
    """A part of the log; every given bound must hold."""

    first_position = serializers.IntegerField(required=False, min_value=1)
    last_position = serializers.IntegerField(required=False, min_value=1)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    types = serializers.ListField(child=serializers.CharField(max_length=150), required=False, max_length=50)

    def to_range(self) -> replays.ReplayRange:
        """The range as the service wants it."""
        given = {name: value for name, value in self.validated_data.items() if name != "expected_count"}
        given["types"] = tuple(given.get("types", ()))
        return replays.ReplayRange(**given)


class ReplayInput(ReplayRangeInput):
    """A previewed range."""

    expected_count = serializers.IntegerField(min_value=0, help_text="The preview's `count`.")


class ReplayPreviewOutput(serializers.Serializer):
    """What a replay would deliver."""

    count = serializers.IntegerField()
    scanned = serializers.IntegerField()
    first_position = serializers.IntegerField()
    last_position = serializers.IntegerField()
    sample = serializers.ListField(child=CloudEventOutput())


class ReplayOutput(serializers.ModelSerializer):
    """A replay that was started."""

    class Meta:
        model = Replay
        fields = ["id", "subscription", "first_position", "last_position", "types", "count", "requested_by",
                  "created_at"]  # fmt: skip
        read_only_fields = fields


def _with_secret(row: EventSubscription, secret: str | None) -> dict[str, Any]:
    row.secret = secret  # type: ignore[attr-defined]
    return dict(SubscriptionWithSecretOutput(row).data)


def _fresh(subscription_id: UUID) -> Response:
    return Response(SubscriptionOutput(get_event_subscription(subscription_id)).data)


class SubscriptionsView(GenericAPIView):
    """Subscriptions of the tenant."""

    permission_classes = [HasPermission.of(read="webhook:view", write="webhook:edit")]
    serializer_class = SubscriptionOutput
    queryset = EventSubscription.objects.none()

    def get_queryset(self) -> QuerySet[EventSubscription]:
        """Subscriptions within the given limits."""
        given = read_input(SubscriptionListFilter, self.request.query_params)
        rows = list_event_subscriptions()
        if "search" in given:
            rows = rows.filter(name__icontains=given["search"])
        return rows.filter(**{name: given[name] for name in ("status", "target") if name in given})

    @extend_schema(
        operation_id="event_subscription_list", tags=["events"], parameters=[SubscriptionListFilter],
        responses=SubscriptionOutput(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Subscriptions with the health of their targets, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(SubscriptionOutput(page, many=True).data)

    @extend_schema(
        operation_id="event_subscription_create", tags=["events"], request=SubscriptionInput,
        responses={201: SubscriptionWithSecretOutput},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Deliver what happens from now on; the answer holds the signing secret, this once."""
        given = read_input(SubscriptionInput, request.data)
        row, secret = subscriptions.create_subscription(
            given.pop("name"),
            target=given.pop("target"),
            config=given.pop("config"),
            secret=given.pop("secret", None),
            actor=actor_of(request),
            **given,
        )
        return Response(_with_secret(row, secret), status=status.HTTP_201_CREATED)


class SubscriptionView(APIView):
    """One subscription."""

    permission_classes = [HasPermission.of(read="webhook:view", write="webhook:edit")]

    @extend_schema(operation_id="event_subscription_retrieve", tags=["events"], responses=SubscriptionOutput)
    def get(self, request: Request, subscription_id: UUID) -> Response:
        """The subscription with the health of its target."""
        return _fresh(subscription_id)

    @extend_schema(
        operation_id="event_subscription_update", tags=["events"], request=SubscriptionChangeInput,
        responses=SubscriptionOutput,
    )  # fmt: skip
    def patch(self, request: Request, subscription_id: UUID) -> Response:
        """Change what is named; the rest stays."""
        changes = read_input(SubscriptionChangeInput, request.data)
        subscriptions.update_subscription(subscription_id, actor=actor_of(request), **changes)
        return _fresh(subscription_id)

    @extend_schema(operation_id="event_subscription_archive", tags=["events"], request=None, responses={204: None})
    def delete(self, request: Request, subscription_id: UUID) -> Response:
        """Archive: nothing more is collected or sent, the secrets are deleted."""
        subscriptions.archive_subscription(subscription_id, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SubscriptionPauseView(APIView):
    """Pause."""

    permission_classes = [HasPermission.of(write="webhook:edit")]

    @extend_schema(
        operation_id="event_subscription_pause", tags=["events"], request=ReasonInput, responses=SubscriptionOutput
    )
    def post(self, request: Request, subscription_id: UUID) -> Response:
        """Send nothing for now; deliveries go on being collected."""
        reason = read_input(ReasonInput, request.data)["reason"]
        subscriptions.pause_subscription(subscription_id, reason=reason, actor=actor_of(request))
        return _fresh(subscription_id)


class SubscriptionResumeView(APIView):
    """Resume."""

    permission_classes = [HasPermission.of(write="webhook:edit")]

    @extend_schema(
        operation_id="event_subscription_resume", tags=["events"], request=None, responses=SubscriptionOutput
    )
    def post(self, request: Request, subscription_id: UUID) -> Response:
        """Send again, also after it was disabled."""
        subscriptions.resume_subscription(subscription_id, actor=actor_of(request))
        return _fresh(subscription_id)


class SubscriptionRotateView(APIView):
    """Rotate the signing secret."""

    permission_classes = [HasPermission.of(write="webhook:edit")]

    @extend_schema(
        operation_id="event_subscription_rotate_secret", tags=["events"], request=RotateInput,
        responses=SubscriptionWithSecretOutput,
    )  # fmt: skip
    def post(self, request: Request, subscription_id: UUID) -> Response:
        """Sign with a new secret; the old one signs too until the overlap ends."""
        given = read_input(RotateInput, request.data)
        row, secret = subscriptions.rotate_secret(
            subscription_id,
            overlap=timedelta(seconds=given["overlap_s"]),
            secret=given.get("secret"),
            actor=actor_of(request),
        )
        return Response(_with_secret(get_event_subscription(row.id), secret))


class SubscriptionTestView(APIView):
    """Try the target."""

    permission_classes = [HasPermission.of(write="webhook:edit")]

    @extend_schema(operation_id="event_subscription_test", tags=["events"], request=None, responses={202: TestOutput})
    def post(self, request: Request, subscription_id: UUID) -> Response:
        """Send a test event to this subscription only; its delivery says what came of it."""
        event_id = subscriptions.test_subscription(subscription_id, actor=actor_of(request))
        return Response({"event": str(event_id)}, status=status.HTTP_202_ACCEPTED)


class SubscriptionRedriveView(APIView):
    """Revive dead letters."""

    permission_classes = [HasPermission.of(write="event:replay")]

    @extend_schema(
        operation_id="event_subscription_redrive", tags=["events"], request=DeadLetterInput, responses=CountOutput
    )
    def post(self, request: Request, subscription_id: UUID) -> Response:
        """Make dead letters due again, at most 1,000 a call."""
        ids = read_input(DeadLetterInput, request.data).get("ids")
        return Response({"count": deliveries.redrive_deliveries(subscription_id, ids=ids, actor=actor_of(request))})


class SubscriptionDiscardView(APIView):
    """Give dead letters up."""

    permission_classes = [HasPermission.of(write="event:replay")]

    @extend_schema(
        operation_id="event_subscription_discard",
        tags=["events"],
        request=DeadLetterDiscardInput,
        responses=CountOutput,
    )
    def post(self, request: Request, subscription_id: UUID) -> Response:
        """Give dead letters up, at most 1,000 a call; what waited behind them goes on."""
        given = read_input(DeadLetterDiscardInput, request.data)
        count = deliveries.discard_deliveries(
            subscription_id, ids=given.get("ids"), reason=given["reason"], actor=actor_of(request)
        )
        return Response({"count": count})


class ReplayPreviewView(APIView):
    """Look before a replay."""

    permission_classes = [HasPermission.of(write="event:replay")]

    @extend_schema(
        operation_id="event_subscription_replay_preview", tags=["events"], request=ReplayRangeInput,
        responses=ReplayPreviewOutput,
    )  # fmt: skip
    def post(self, request: Request, subscription_id: UUID) -> Response:
        """Count and sample what a replay of the range would deliver; changes nothing."""
        given = ReplayRangeInput(data=request.data)
        given.is_valid(raise_exception=True)
        found = replays.preview_replay(subscription_id, given.to_range(), actor=actor_of(request))
        return Response({**found.__dict__, "sample": [event.to_cloudevent() for event in found.sample]})


class ReplayView(APIView):
    """Replay."""

    permission_classes = [HasPermission.of(write="event:replay")]

    @extend_schema(
        operation_id="event_subscription_replay", tags=["events"], request=ReplayInput, responses={202: ReplayOutput}
    )
    def post(self, request: Request, subscription_id: UUID) -> Response:
        """Deliver the previewed range again, behind what is under way."""
        given = ReplayInput(data=request.data)
        given.is_valid(raise_exception=True)
        replay = replays.start_replay(
            subscription_id,
            given.to_range(),
            expected_count=given.validated_data["expected_count"],
            actor=actor_of(request),
        )
        return Response(ReplayOutput(replay).data, status=status.HTTP_202_ACCEPTED)
