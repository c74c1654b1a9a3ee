"""REST v2: published versions and deployments."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.inputs import read_input
from apps.integrations.api import serializers as shapes
from apps.integrations.models import Deployment, FlowVersion
from apps.integrations.selectors import get_flow_row, get_version, get_version_row, list_deployments, list_versions
from apps.integrations.services.deployments import deploy_version, retire_deployment
from apps.integrations.services.flows import publish_flow
from apps.quality.selectors import list_lineage


class FlowPublishView(APIView):
    """Publishing."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:publish")]

    @extend_schema(
        operation_id="flow_publish",
        request=shapes.PublishInput,
        responses={200: shapes.PublishResultSerializer, 201: shapes.PublishResultSerializer},
    )
    def post(self, request: Request, flow_id: UUID) -> Response:
        """Freeze the draft as a version (201); 200 with the existing one if it behaves exactly like it."""
        wanted = read_input(shapes.PublishInput, request.data)
        done = publish_flow(flow_id, actor=actor_of(request), note=wanted["note"])
        document = {**shapes.VersionSerializer(done.version).data, "created": done.created, "message": done.message}
        return Response(document, status=status.HTTP_201_CREATED if done.created else status.HTTP_200_OK)


class FlowVersionListView(ListAPIView):
    """Published versions of a flow, newest first."""

    permission_classes = [HasPermission.of(read="flow:view")]
    serializer_class = shapes.VersionSummarySerializer
    queryset = FlowVersion.objects.none()

    def get_queryset(self) -> QuerySet[FlowVersion]:
        """Versions of the flow in the address; 404 if there is no such flow."""
        return list_versions(get_flow_row(self.kwargs["flow_id"]).pk)

    @extend_schema(operation_id="flow_version_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Published versions of the flow, newest first."""
        return self.list(request, *args, **kwargs)


class FlowVersionView(APIView):
    """One published version."""

    permission_classes = [HasPermission.of(read="flow:view")]

    @extend_schema(operation_id="flow_version_get", responses=shapes.VersionSerializer)
    def get(self, request: Request, flow_id: UUID, number: int) -> Response:
        """The version with its definition."""
        return Response(shapes.VersionSerializer(get_version_row(flow_id, number)).data)


class FlowLineageView(APIView):
    """Column lineage."""

    permission_classes = [HasPermission.of(read="flow:view")]

    @extend_schema(operation_id="flow_version_lineage", responses=shapes.LineageSerializer)
    def get(self, request: Request, flow_id: UUID, number: int) -> Response:
        """Which source columns feed each target column of a version."""
        version = get_version(flow_id, number)
        return Response(shapes.LineageSerializer({"results": list_lineage(version.id)}).data)


class FlowDeployView(APIView):
    """Deploying."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:deploy")]

    @extend_schema(
        operation_id="flow_deploy",
        request=shapes.DeployInput,
        responses={200: shapes.DeployResultSerializer, 201: shapes.DeployResultSerializer},
    )
    def post(self, request: Request, flow_id: UUID) -> Response:
        """Make a version active in an environment (201); 200 if it is already. Rolling back is the same verb."""
        wanted = read_input(shapes.DeployInput, request.data)
        done = deploy_version(flow_id, actor=actor_of(request), **wanted)
        document = {
            **shapes.DeploymentSerializer(done.deployment).data,
            "changed": done.changed,
            "message": done.message,
            "warnings": [problem.to_json() for problem in done.warnings],
        }
        return Response(document, status=status.HTTP_201_CREATED if done.changed else status.HTTP_200_OK)


class FlowDeploymentListView(ListAPIView):
    """Deployments of a flow, newest first; retired ones stay in the list."""

    permission_classes = [HasPermission.of(read="flow:view")]
    serializer_class = shapes.DeploymentSerializer
    queryset = Deployment.objects.none()

    def get_queryset(self) -> QuerySet[Deployment]:
        """Deployments of the flow in the address; 404 if there is no such flow."""
        return list_deployments(get_flow_row(self.kwargs["flow_id"]).pk)

    @extend_schema(operation_id="flow_deployment_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Deployments of the flow, newest first."""
        return self.list(request, *args, **kwargs)


class FlowRetireView(APIView):
    """Taking a flow out of an environment."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:deploy")]

    @extend_schema(operation_id="flow_retire", responses={200: shapes.DeploymentSerializer})
    def delete(self, request: Request, flow_id: UUID, environment: str) -> Response:
        """Retire the active deployment; nothing can be started there any more."""
        row = retire_deployment(flow_id, environment=environment, actor=actor_of(request))
        return Response(shapes.DeploymentSerializer(row).data)
