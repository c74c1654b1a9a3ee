"""REST v2: connectors and connections."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.connectors.api import serializers as shapes
from apps.connectors.models import Connection
from apps.connectors.registries import connector_registry
from apps.connectors.selectors import filter_connections, get_connection_row
from apps.connectors.services import breakers, browsing, connections, uploads
from apps.connectors.services.manifests import manifest_document
from apps.connectors.services.sessions import OWNER_TYPE
from apps.core.api.inputs import read_input
from apps.vault.services.secrets import list_secret_names_by_owner

MULTIPART_BYTES = 64 * 1024
"""Room for the boundaries and headers around the file in a multipart body."""


def documents(rows: list[Connection]) -> Any:
    """Connections as JSON, with the names of their credentials from one query."""
    names = list_secret_names_by_owner(OWNER_TYPE, [row.id for row in rows])
    return shapes.ConnectionSerializer(rows, many=True, context={"secret_names": names}).data


def connection_response(row: Connection, code: int = status.HTTP_200_OK) -> Response:
    """One connection."""
    return Response(documents([row])[0], status=code)


class ConnectorListView(APIView):
    """Connectors that are installed."""

    permission_classes = [HasPermission.of(read="connection:view")]

    @extend_schema(operation_id="connector_list", responses=shapes.ConnectorListSerializer)
    def get(self, request: Request) -> Response:
        """Every installed connector with the form of its settings."""
        return Response({"results": [manifest_document(one.manifest) for one in connector_registry]})


class ConnectionListView(GenericAPIView):
    """Connections of the tenant."""

    permission_classes = [HasPermission.of(read="connection:view", write="connection:edit")]
    serializer_class = shapes.ConnectionSerializer
    queryset = Connection.objects.none()

    def get_queryset(self) -> QuerySet[Connection]:
        """Connections within the given limits."""
        return filter_connections(**read_input(shapes.ConnectionFilter, self.request.query_params))

    @extend_schema(
        operation_id="connection_list",
        parameters=[shapes.ConnectionFilter],
        responses=shapes.ConnectionSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Connections, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(documents(list(page or [])))

    @extend_schema(
        operation_id="connection_create",
        request=shapes.ConnectionCreateSerializer,
        responses={201: shapes.ConnectionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Configure a system; credentials go to the vault and are never shown again."""
        given = read_input(shapes.ConnectionCreateSerializer, request.data)
        row = connections.create_connection(
            given["name"],
            given["connector"],
            config=given["config"],
            secrets=given["secrets"],
            slug=given.get("slug") or None,
            actor=actor_of(request),
        )
        return connection_response(row, status.HTTP_201_CREATED)


class ConnectionView(APIView):
    """One connection."""

    permission_classes = [HasPermission.of(read="connection:view", write="connection:edit")]

    @extend_schema(operation_id="connection_retrieve", responses=shapes.ConnectionSerializer)
    def get(self, request: Request, connection_id: UUID) -> Response:
        """The connection, archived or not."""
        return connection_response(get_connection_row(connection_id))

    @extend_schema(
        operation_id="connection_update",
        request=shapes.ConnectionUpdateSerializer,
        responses=shapes.ConnectionSerializer,
    )
    def patch(self, request: Request, connection_id: UUID) -> Response:
        """Change name, settings or credentials; what is left out stays."""
        given = read_input(shapes.ConnectionUpdateSerializer, request.data)
        return connection_response(connections.update_connection(connection_id, **given, actor=actor_of(request)))

    @extend_schema(operation_id="connection_archive", request=None, responses={200: shapes.ConnectionSerializer})
    def delete(self, request: Request, connection_id: UUID) -> Response:
        """Archive: flows can no longer use it; restore brings it back."""
        return connection_response(connections.archive_connection(connection_id, actor=actor_of(request)))


class ConnectionRestoreView(APIView):
    """Undo of archiving."""

    permission_classes = [HasPermission.of(write="connection:edit")]

    @extend_schema(operation_id="connection_restore", request=None, responses=shapes.ConnectionSerializer)
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Bring an archived connection back."""
        return connection_response(connections.restore_connection(connection_id, actor=actor_of(request)))


class ConnectionCheckView(APIView):
    """Try a saved connection."""

    permission_classes = [HasPermission.of(write="connection:use")]

    @extend_schema(operation_id="connection_check", request=None, responses=shapes.CheckResultSerializer)
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Try it step by step and remember the outcome."""
        return Response(connections.check_connection(connection_id, actor=actor_of(request)).to_json())


class CircuitView(APIView):
    """The circuit breaker of a connection."""

    permission_classes = [HasPermission.of(write="connection:edit")]

    @extend_schema(
        operation_id="connection_circuit_update",
        request=shapes.CircuitChangeSerializer,
        responses=shapes.ConnectionSerializer,
    )
    def patch(self, request: Request, connection_id: UUID) -> Response:
        """Change when it opens and how long it pauses."""
        given = read_input(shapes.CircuitChangeSerializer, request.data)
        breakers.change_breaker(connection_id, actor=actor_of(request), **given)
        return connection_response(get_connection_row(connection_id))


class CircuitResetView(APIView):
    """Close the circuit by hand."""

    permission_classes = [HasPermission.of(write="connection:control")]

    @extend_schema(operation_id="connection_circuit_reset", request=None, responses=shapes.ConnectionSerializer)
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Call the system again, whatever failed before. To ask it first, check the connection."""
        breakers.reset_breaker(connection_id, actor=actor_of(request))
        return connection_response(get_connection_row(connection_id))


class DraftCheckView(APIView):
    """Try settings that are not saved."""

    permission_classes = [HasPermission.of(write="connection:edit")]

    @extend_schema(
        operation_id="connection_check_draft",
        request=shapes.DraftCheckSerializer,
        responses=shapes.CheckResultSerializer,
    )
    def post(self, request: Request) -> Response:
        """Try them step by step."""
        given = read_input(shapes.DraftCheckSerializer, request.data)
        result = connections.check_draft(
            given["connector"],
            config=given["config"],
            secrets=given["secrets"],
            connection_id=given.get("connection"),
            actor=actor_of(request),
        )
        return Response(result.to_json())


class EntityListView(APIView):
    """What a connected system offers."""

    permission_classes = [HasPermission.of(read="connection:view")]

    @extend_schema(
        operation_id="connection_entities", parameters=[shapes.EntityFilter], responses=shapes.EntityPageSerializer
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """Its entities by name, one page at a time."""
        given = read_input(shapes.EntityFilter, request.query_params)
        page = browsing.list_entities(connection_id, **given, actor=actor_of(request))
        return Response(shapes.EntityPageSerializer(page).data)


class EntityView(APIView):
    """Structure of an entity."""

    permission_classes = [HasPermission.of(read="connection:view")]

    @extend_schema(
        operation_id="connection_entity", parameters=[shapes.EntityQuery], responses=shapes.EntitySchemaSerializer
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """Fields with types, keys, and columns fit for incremental loads."""
        given = read_input(shapes.EntityQuery, request.query_params)
        return Response(browsing.describe_entity(connection_id, given["name"], actor=actor_of(request)).to_json())


class SampleView(APIView):
    """Rows to look at."""

    permission_classes = [HasPermission.of(read="connection:use")]

    @extend_schema(operation_id="connection_sample", parameters=[shapes.SampleQuery], responses=shapes.SampleSerializer)
    def get(self, request: Request, connection_id: UUID) -> Response:
        """The first rows of an entity; decimals and dates are text, long values are cut."""
        given = read_input(shapes.SampleQuery, request.query_params)
        found = browsing.sample_entity(connection_id, given["entity"], limit=given["limit"], actor=actor_of(request))
        return Response(found)


class UploadListView(APIView):
    """Files uploaded into a connection."""

    permission_classes = [HasPermission.of(read="connection:view", write="connection:use")]
    parser_classes = [MultiPartParser]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what announces itself as too large at once: checking the session already reads the body."""
        announced = str(request.META.get("CONTENT_LENGTH") or "")
        uploads.check_upload_size(int(announced) - MULTIPART_BYTES if announced.isdigit() else None)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="connection_uploads", parameters=[shapes.PageQuery], responses=shapes.UploadListSerializer
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """Uploaded files, the latest first, one page at a time."""
        given = read_input(shapes.PageQuery, request.query_params)
        found, following = uploads.list_uploads(connection_id, **given, actor=actor_of(request))
        return Response({"results": shapes.UploadSerializer(found, many=True).data, "next": following})

    @extend_schema(
        operation_id="connection_upload",
        request={"multipart/form-data": shapes.UploadInputSerializer},
        responses={201: shapes.UploadSerializer},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Upload one file; a file of the same name is replaced."""
        given = read_input(shapes.UploadInputSerializer, request.data)
        file = given["file"]
        stored = uploads.store_upload(connection_id, file.name, file.chunks(), actor=actor_of(request))
        return Response(shapes.UploadSerializer(stored).data, status=status.HTTP_201_CREATED)
