"""REST v2: environments, connection bindings, variables."""

from __future__ import annotations

from collections.abc import Mapping

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.inputs import read_input
from apps.integrations.api import environment_serializers as shapes
from apps.integrations.exceptions import BindingInvalid
from apps.integrations.models import Variable
from apps.integrations.selectors import get_environment_row, list_bindings, list_environment_rows, list_variables
from apps.integrations.services.environments import (
    VariableInput,
    replace_bindings,
    replace_variables,
    update_environment,
)

BINDINGS = {"type": "object", "additionalProperties": {"type": "string", "format": "uuid"}}
ALLOWED = HasPermission.of(read="environment:view", write="environment:manage")


class EnvironmentListView(APIView):
    """Environments of the tenant."""

    permission_classes = [ALLOWED]

    @extend_schema(operation_id="environment_list", responses=shapes.EnvironmentPage)
    def get(self, request: Request) -> Response:
        """Every environment in order of promotion."""
        rows = shapes.EnvironmentSerializer(list_environment_rows(), many=True).data
        return Response({"results": rows, "next": None, "previous": None})


class EnvironmentView(APIView):
    """One environment."""

    permission_classes = [ALLOWED]

    @extend_schema(operation_id="environment_get", responses=shapes.EnvironmentSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """The environment."""
        return Response(shapes.EnvironmentSerializer(get_environment_row(slug)).data)

    @extend_schema(
        operation_id="environment_update", request=shapes.EnvironmentChange, responses=shapes.EnvironmentSerializer
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Rename, describe, protect or unprotect it."""
        wanted = read_input(shapes.EnvironmentChange, request.data)
        return Response(shapes.EnvironmentSerializer(update_environment(slug, actor=actor_of(request), **wanted)).data)


class BindingsView(APIView):
    """What connection slots mean in an environment."""

    permission_classes = [ALLOWED]

    @extend_schema(operation_id="environment_bindings_get", responses={200: BINDINGS})
    def get(self, request: Request, slug: str) -> Response:
        """{slot: connection id}; a slot that is not listed means the connection of that short name."""
        return Response(_bindings(list_bindings(get_environment_row(slug).pk)))

    @extend_schema(
        operation_id="environment_bindings_replace", request={"application/json": BINDINGS}, responses={200: BINDINGS}
    )
    def put(self, request: Request, slug: str) -> Response:
        """Replace all bindings of the environment."""
        if not isinstance(request.data, dict):
            raise BindingInvalid("Send an object: {slot: connection id}.")
        field = serializers.DictField(child=serializers.UUIDField())
        try:
            wanted = field.run_validation(request.data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({"bindings": error.detail}) from error
        return Response(_bindings(replace_bindings(slug, wanted, actor=actor_of(request))))


class VariablesView(APIView):
    """Variables of an environment."""

    permission_classes = [ALLOWED]

    @extend_schema(operation_id="environment_variables_get", responses=shapes.VariablesSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Names and values; secret values are never shown."""
        return Response(_variables(list_variables(get_environment_row(slug).pk)))

    @extend_schema(
        operation_id="environment_variables_replace",
        request=shapes.VariablesInput,
        responses=shapes.VariablesSerializer,
    )
    def put(self, request: Request, slug: str) -> Response:
        """Replace all variables; a variable without a value keeps the stored one."""
        wanted = read_input(shapes.VariablesInput, request.data)
        given = [VariableInput(**item) for item in wanted["variables"]]
        return Response(_variables(replace_variables(slug, given, actor=actor_of(request))))


def _bindings(found: Mapping[str, object]) -> dict[str, str]:
    return {slot: str(connection_id) for slot, connection_id in sorted(found.items())}


def _variables(rows: list[Variable]) -> dict[str, object]:
    return {
        "variables": [
            {"name": row.name, "value": None if row.secret else row.value, "secret": row.secret} for row in rows
        ]
    }
