"""REST v2: check an expression while it is typed, try it on sample rows, list the functions."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission
from apps.core.api.inputs import read_input
from apps.expressions.api import serializers as shapes
from apps.expressions.catalogue import list_functions
from apps.expressions.contracts import Schema
from apps.expressions.services.checking import check_expression
from apps.expressions.services.evaluation import evaluate_rows
from apps.expressions.services.values import to_json_value

EVALUATE_TIMEOUT_S = 3.0
_USE = HasPermission.of(read="expression:use", write="expression:use")


class CheckView(APIView):
    """Type, lineage and problems of one expression."""

    permission_classes = [_USE]

    @extend_schema(
        operation_id="expressions_check", request=shapes.CheckInput, responses=shapes.CheckResult, tags=["expressions"]
    )
    def post(self, request: Request) -> Response:
        """Check an expression against columns and, if given, the type it must fit into."""
        data = read_input(shapes.CheckInput, request.data)
        mapped = Schema.from_json(data["mapped"]) if "mapped" in data else None
        checked = check_expression(
            data["expression"], Schema.from_json(data["schema"]), data.get("target_type"), mapped=mapped
        )
        return Response({
            "ok": checked.ok,
            "type": checked.type,
            "nullable": checked.nullable,
            "columns": list(checked.columns),
            "problems": [problem.to_json() for problem in checked.problems],
        })  # fmt: skip


class EvaluateView(APIView):
    """Values of expressions for sample rows."""

    permission_classes = [_USE]

    @extend_schema(
        operation_id="expressions_evaluate",
        request=shapes.EvaluateInput,
        responses=shapes.EvaluateResult,
        tags=["expressions"],
    )
    def post(self, request: Request) -> Response:
        """Evaluate expressions for at most 100 rows; decimals and instants are strings."""
        data = read_input(shapes.EvaluateInput, request.data)
        named = [(item["name"], item["expression"]) for item in data["expressions"]]
        results = evaluate_rows(named, data["rows"], Schema.from_json(data["schema"]), timeout_s=EVALUATE_TIMEOUT_S)
        rows = [
            {
                "values": {name: to_json_value(value) for name, value in result.values.items()},
                "errors": [{"name": e.name, "code": e.code, "message": e.message} for e in result.errors],
            }
            for result in results
        ]
        return Response({"rows": rows})


class FunctionsView(APIView):
    """The function list of the designer."""

    permission_classes = [_USE]

    @extend_schema(operation_id="expressions_functions", responses=shapes.FunctionList, tags=["expressions"])
    def get(self, request: Request) -> Response:
        """Every allowed function with a runnable example."""
        names = ("name", "category", "signature", "description", "example", "result")
        results = [{name: getattr(function, name) for name in names} for function in list_functions()]
        return Response({"results": results})
