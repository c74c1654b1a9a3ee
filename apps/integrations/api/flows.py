"""REST v2: flows, their drafts, and trying them out."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.inputs import read_input
from apps.integrations.api import serializers as shapes
from apps.integrations.models import Flow
from apps.integrations.selectors import filter_flows, get_flow_row
from apps.integrations.services.documents import build_flow_documents
from apps.integrations.services.drift import report_drift
from apps.integrations.services.flows import archive_flow, create_flow, restore_flow, update_draft, update_flow
from apps.integrations.services.pausing import pause_flow, resume_flow
from apps.integrations.services.preview import preview_mapping
from apps.integrations.services.suggestions import suggest_mapping
from apps.integrations.services.validation import design_binding, validate_definition
from apps.integrations.shape import flow_schema, process_schema


def flow_response(flow: Flow, code: int = status.HTTP_200_OK) -> Response:
    """One flow with its draft."""
    (document,) = build_flow_documents([flow], with_draft=True)
    return Response(shapes.FlowSerializer(document).data, status=code)


class FlowListView(GenericAPIView):
    """Flows of the tenant."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:edit")]
    serializer_class = shapes.FlowSummarySerializer
    queryset = Flow.objects.none()

    def get_queryset(self) -> QuerySet[Flow]:
        """Flows within the given limits."""
        return filter_flows(**read_input(shapes.FlowFilter, self.request.query_params))

    @extend_schema(
        operation_id="flow_list", parameters=[shapes.FlowFilter], responses=shapes.FlowSummarySerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """Flows, newest first, with latest version, deployments and last run."""
        page = self.paginate_queryset(self.get_queryset())
        documents = build_flow_documents(list(page or []))
        return self.get_paginated_response(shapes.FlowSummarySerializer(documents, many=True).data)

    @extend_schema(operation_id="flow_create", request=shapes.FlowInput, responses={201: shapes.FlowSerializer})
    def post(self, request: Request) -> Response:
        """Make a flow; without a draft it starts empty."""
        wanted = read_input(shapes.FlowInput, request.data)
        wanted["definition"] = wanted.pop("draft", None)
        flow = create_flow(wanted.pop("name"), actor=actor_of(request), **wanted)
        return flow_response(flow, status.HTTP_201_CREATED)


class FlowView(APIView):
    """One flow."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:edit")]

    @extend_schema(operation_id="flow_get", responses=shapes.FlowSerializer)
    def get(self, request: Request, flow_id: UUID) -> Response:
        """The flow with its draft."""
        return flow_response(get_flow_row(flow_id))

    @extend_schema(operation_id="flow_update", request=shapes.FlowChange, responses=shapes.FlowSerializer)
    def patch(self, request: Request, flow_id: UUID) -> Response:
        """Rename, describe, or save the draft; 409 `integrations.draft_conflict` if somebody else saved it."""
        wanted = read_input(shapes.FlowChange, request.data)
        actor = actor_of(request)
        flow = get_flow_row(flow_id)
        with transaction.atomic():
            if "draft" in wanted:
                revision = wanted["expected_revision"]
                flow = update_draft(flow_id, wanted["draft"], expected_revision=revision, actor=actor)
            if "name" in wanted or "description" in wanted:
                flow = update_flow(flow_id, actor=actor, name=wanted.get("name"), description=wanted.get("description"))
        return flow_response(flow)

    @extend_schema(operation_id="flow_archive", responses={204: None})
    def delete(self, request: Request, flow_id: UUID) -> Response:
        """Archive the flow; versions and runs stay."""
        archive_flow(flow_id, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class FlowRestoreView(APIView):
    """Undo of archiving."""

    permission_classes = [HasPermission.of(write="flow:edit")]

    @extend_schema(operation_id="flow_restore", request=None, responses=shapes.FlowSerializer)
    def post(self, request: Request, flow_id: UUID) -> Response:
        """Bring an archived flow back; what was deployed has to be deployed again."""
        return flow_response(restore_flow(flow_id, actor=actor_of(request)))


class FlowPauseView(APIView):
    """Holding a flow."""

    permission_classes = [HasPermission.of(write="flow:deploy")]

    @extend_schema(operation_id="flow_pause", request=shapes.FlowPauseInput, responses=shapes.FlowSerializer)
    def post(self, request: Request, flow_id: UUID) -> Response:
        """Let nothing start a run of the flow, in any environment; runs that have begun go on."""
        wanted = read_input(shapes.FlowPauseInput, request.data)
        return flow_response(pause_flow(flow_id, reason=wanted["reason"], actor=actor_of(request)))


class FlowResumeView(APIView):
    """The end of holding a flow."""

    permission_classes = [HasPermission.of(write="flow:deploy")]

    @extend_schema(operation_id="flow_resume", request=None, responses=shapes.FlowSerializer)
    def post(self, request: Request, flow_id: UUID) -> Response:
        """Let runs of the flow start again; what its triggers skipped meanwhile is not made up for."""
        return flow_response(resume_flow(flow_id, actor=actor_of(request)))


class FlowValidateView(APIView):
    """Checking a definition."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:view")]

    @extend_schema(operation_id="flow_validate", request=shapes.DefinitionInput, responses=shapes.CheckSerializer)
    def post(self, request: Request, flow_id: UUID) -> Response:
        """Everything that is wrong or doubtful, by path and character."""
        wanted = read_input(shapes.DefinitionInput, request.data)
        flow = get_flow_row(flow_id)
        # Whoever may not use connections learns only what is remembered about their systems.
        may_ask = actor_of(request).has("connection:use")
        found = validate_definition(wanted.get("definition", flow.draft), live=may_ask)
        return Response(
            {
                "valid": found.valid,
                "problems": [problem.to_json() for problem in found.problems],
                "fields": list(found.fields),
                "source_known": found.source_known,
                "source_fields": list(found.source_fields),
            }
        )


class FlowPreviewView(APIView):
    """Trying a mapping on sample rows."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:view")]

    @extend_schema(operation_id="flow_preview", request=shapes.PreviewInput, responses=shapes.PreviewSerializer)
    def post(self, request: Request, flow_id: UUID) -> Response:
        """The first rows of the source, mapped, with every broken rule."""
        wanted = read_input(shapes.PreviewInput, request.data)
        found = preview_mapping(
            flow_id, actor=actor_of(request), definition=wanted.get("definition"), limit=wanted["limit"]
        )
        return Response(
            {
                "source_fields": list(found.source_fields),
                "target_fields": list(found.target_fields),
                "rows": [row.__dict__ for row in found.rows],
                "problems": [problem.to_json() for problem in found.problems],
            }
        )


class FlowSuggestView(APIView):
    """Guessing a first mapping."""

    permission_classes = [HasPermission.of(read="flow:view", write="flow:edit")]

    @extend_schema(operation_id="flow_suggest", request=shapes.SuggestInput, responses=shapes.SuggestionSerializer)
    def post(self, request: Request, flow_id: UUID) -> Response:
        """Fields, keys and cursor guessed from names and types."""
        wanted = read_input(shapes.SuggestInput, request.data)
        get_flow_row(flow_id)
        target = wanted.get("target_connection")
        found = suggest_mapping(
            design_binding(wanted["connection"]),
            wanted["entity"],
            actor=actor_of(request),
            target_connection_id=design_binding(target) if target else None,
            target_entity=wanted.get("target_entity"),
        )
        return Response(
            {"fields": [item.to_json() for item in found.fields], "keys": list(found.keys), "cursor": found.cursor}
        )


class FlowDriftView(APIView):
    """The data contract against the source."""

    permission_classes = [HasPermission.of(read="flow:view")]

    @extend_schema(operation_id="flow_drift", parameters=[shapes.DriftFilter], responses=shapes.DriftSerializer)
    def get(self, request: Request, flow_id: UUID) -> Response:
        """New, missing and retyped columns, and what the next run does about them."""
        wanted = read_input(shapes.DriftFilter, request.query_params)
        found = report_drift(flow_id, environment=wanted["environment"], actor=actor_of(request))
        return Response({"version": found.version, **found.report.to_json()})


class FlowSchemaView(APIView):
    """The shape of a definition."""

    @extend_schema(operation_id="schema_flow_1", responses={(200, "application/schema+json"): dict})
    def get(self, request: Request) -> Response:
        """JSON Schema (draft 2020-12) of `flow/1`."""
        return Response(flow_schema(), content_type="application/schema+json")


class ProcessSchemaView(APIView):
    """The shape of a process."""

    @extend_schema(operation_id="schema_process_1", responses={(200, "application/schema+json"): dict})
    def get(self, request: Request) -> Response:
        """JSON Schema (draft 2020-12) of `process/1`."""
        return Response(process_schema(), content_type="application/schema+json")
