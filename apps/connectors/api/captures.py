"""REST v2: change captures."""

from __future__ import annotations

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
from apps.connectors.capture.rows import format_lsn
from apps.connectors.choices import AlarmLevel, CapturePhase, CaptureStatus
from apps.connectors.models import ChangeCapture
from apps.connectors.selectors import filter_captures, get_capture_row
from apps.connectors.services import captures
from apps.connectors.services.capture_health import measure_capture
from apps.connectors.services.captures import EDIT, VIEW
from apps.core.api.inputs import read_input


class CaptureColumnSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    type = serializers.CharField()


class CaptureTableSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    keys = serializers.ListField(child=serializers.CharField())
    columns = CaptureColumnSerializer(many=True)


class CaptureProblemSerializer(serializers.Serializer[Any]):
    """Why it does not go on; while it runs, it tries again by itself."""

    code = serializers.CharField()
    message = serializers.CharField()
    remedy = serializers.CharField(allow_blank=True)
    needs_restart = serializers.BooleanField(help_text="Going on would fail again.")
    at = serializers.DateTimeField()


class CaptureHealthSerializer(serializers.Serializer[Any]):
    """How the slot was when it was last measured; empty before the first time."""

    measured_at = serializers.DateTimeField(required=False)
    failed_at = serializers.DateTimeField(required=False)
    error = serializers.CharField(required=False, help_text="Why the source could not be asked; empty when it could.")
    wal_status = serializers.CharField(
        required=False, help_text="`reserved`, `extended`, `unreserved`, `lost` or `missing`."
    )
    active = serializers.BooleanField(required=False)
    retained_bytes = serializers.IntegerField(required=False, help_text="Log that the source keeps for the capture.")
    safe_bytes = serializers.IntegerField(
        required=False, allow_null=True, help_text="Log that the source can still write before the slot is lost."
    )
    lag_bytes = serializers.IntegerField(required=False, help_text="Log that is not captured yet.")
    lag_s = serializers.IntegerField(required=False, help_text="At least so many seconds behind.")
    reasons = serializers.ListField(child=serializers.CharField(), required=False)


class CaptureSerializer(serializers.Serializer[Any]):
    """Tables of a connection whose changes become events of type `row.changed.v1`."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    connection = serializers.UUIDField(source="connection_id")
    connection_name = serializers.CharField(source="connection.name")
    connection_slug = serializers.CharField(source="connection.slug")
    tables = CaptureTableSerializer(many=True)
    slot = serializers.CharField()
    publication = serializers.CharField()
    own_publication = serializers.BooleanField()
    with_snapshot = serializers.BooleanField()
    status = serializers.ChoiceField(choices=[one.value for one in CaptureStatus])
    phase = serializers.ChoiceField(choices=[one.value for one in CapturePhase])
    position = serializers.SerializerMethodField()
    tables_read = serializers.SerializerMethodField()
    rows_read = serializers.IntegerField()
    changes = serializers.IntegerField()
    last_commit_at = serializers.DateTimeField(allow_null=True)
    last_event_at = serializers.DateTimeField(allow_null=True)
    retry_at = serializers.DateTimeField(allow_null=True)
    problem = CaptureProblemSerializer(allow_null=True)
    health = CaptureHealthSerializer()
    alarm = serializers.ChoiceField(choices=[one.value for one in AlarmLevel])
    warn_wal_bytes = serializers.IntegerField()
    max_wal_bytes = serializers.IntegerField()
    drop_at_limit = serializers.BooleanField()
    warn_lag_s = serializers.IntegerField()
    created_at = serializers.DateTimeField()

    def get_position(self, row: ChangeCapture) -> str:
        """Place in the source's log up to which everything is captured."""
        return format_lsn(row.position)

    def get_tables_read(self, row: ChangeCapture) -> int:
        """Tables that the first snapshot has read completely."""
        return int(row.progress.get("done", 0))


class CaptureCreateSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=120)
    connection = serializers.UUIDField()
    tables = serializers.ListField(child=serializers.CharField(max_length=130), min_length=1, max_length=200)
    publication = serializers.CharField(
        max_length=63, required=False, allow_blank=True, default="", help_text="One that an administrator has made."
    )
    with_snapshot = serializers.BooleanField(default=True, help_text="Publish the rows that are there first.")
    warn_wal_bytes = serializers.IntegerField(min_value=captures.LEAST_WAL_BYTES, default=captures.WARN_WAL_BYTES)
    max_wal_bytes = serializers.IntegerField(min_value=captures.LEAST_WAL_BYTES, default=captures.MAX_WAL_BYTES)
    drop_at_limit = serializers.BooleanField(
        default=True, help_text="Drop the slot at the limit, so that the source's disk stays free; else only warn."
    )
    warn_lag_s = serializers.IntegerField(min_value=30, max_value=86_400, default=captures.WARN_LAG_S)


class CaptureDeleteSerializer(serializers.Serializer[Any]):
    force = serializers.BooleanField(
        default=False, help_text="Forget it although its slot cannot be dropped; an administrator must drop that."
    )


def capture_response(capture_id: UUID, code: int = status.HTTP_200_OK) -> Response:
    """One capture."""
    return Response(CaptureSerializer(get_capture_row(capture_id)).data, status=code)


class CaptureListView(GenericAPIView):
    """Change captures of the tenant."""

    permission_classes = [HasPermission.of(read=VIEW, write=EDIT)]
    serializer_class = CaptureSerializer
    queryset = ChangeCapture.objects.none()

    def get_queryset(self) -> QuerySet[ChangeCapture]:
        """All of the tenant's."""
        return filter_captures()

    @extend_schema(operation_id="capture_list", responses=CaptureSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Change captures, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(CaptureSerializer(list(page or []), many=True).data)

    @extend_schema(operation_id="capture_create", request=CaptureCreateSerializer, responses={201: CaptureSerializer})
    def post(self, request: Request) -> Response:
        """Begin to capture; a database that is not ready is refused with the statements that help."""
        given = read_input(CaptureCreateSerializer, request.data)
        connection_id = given.pop("connection")
        row = captures.create_capture(
            given.pop("name"), connection_id, given.pop("tables"), **given, actor=actor_of(request)
        )
        return capture_response(row.id, status.HTTP_201_CREATED)


class CaptureView(APIView):
    """One change capture."""

    permission_classes = [HasPermission.of(read=VIEW, write=EDIT)]

    @extend_schema(operation_id="capture_retrieve", responses=CaptureSerializer)
    def get(self, request: Request, capture_id: UUID) -> Response:
        """The capture with its last measured health."""
        return capture_response(capture_id)

    @extend_schema(operation_id="capture_delete", parameters=[CaptureDeleteSerializer], responses={204: None})
    def delete(self, request: Request, capture_id: UUID) -> Response:
        """Drop its slot and publication at the source, then forget it; the events stay."""
        given = read_input(CaptureDeleteSerializer, request.query_params)
        captures.delete_capture(capture_id, force=given["force"], actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class CapturePauseView(APIView):
    """Stopping for a while."""

    permission_classes = [HasPermission.of(write=EDIT)]

    @extend_schema(operation_id="capture_pause", request=None, responses={200: CaptureSerializer})
    def post(self, request: Request, capture_id: UUID) -> Response:
        """Pause; the source keeps its log meanwhile."""
        captures.pause_capture(capture_id, actor=actor_of(request))
        return capture_response(capture_id)


class CaptureResumeView(APIView):
    """Going on."""

    permission_classes = [HasPermission.of(write=EDIT)]

    @extend_schema(operation_id="capture_resume", request=None, responses={200: CaptureSerializer})
    def post(self, request: Request, capture_id: UUID) -> Response:
        """Go on where it was paused or failed."""
        captures.resume_capture(capture_id, actor=actor_of(request))
        return capture_response(capture_id)


class CaptureRestartView(APIView):
    """Beginning again."""

    permission_classes = [HasPermission.of(write=EDIT)]

    @extend_schema(operation_id="capture_restart", request=None, responses={200: CaptureSerializer})
    def post(self, request: Request, capture_id: UUID) -> Response:
        """Begin again with a new slot and every row read again."""
        captures.restart_capture(capture_id, actor=actor_of(request))
        return capture_response(capture_id)


class CaptureHealthView(APIView):
    """Measuring now."""

    permission_classes = [HasPermission.of(write=VIEW)]

    @extend_schema(operation_id="capture_measure", request=None, responses={200: CaptureSerializer})
    def post(self, request: Request, capture_id: UUID) -> Response:
        """Ask the source how the slot is, now."""
        measure_capture(capture_id, actor=actor_of(request))
        return capture_response(capture_id)
