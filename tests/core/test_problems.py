"""Errors as callers see them: problem documents over HTTP."""

from __future__ import annotations

import pytest
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from apps.core.api.problems import handle_exception, problem_document
from apps.core.exceptions import Conflict, PortalError, Problem, TooLarge, TransientError, ValidationFailed


class OddlyShaped(PortalError):
    """The shape is odd.

    A second paragraph that is not part of the message.
    """

    code = "tests.odd"
    status = 422


def test_the_first_line_of_the_docstring_is_the_default_message() -> None:
    assert OddlyShaped().message == "The shape is odd."


def test_a_problem_document_names_field_value_and_remedy() -> None:
    error = TooLarge("The file has 3 GB.", field="file", value="3000000000", remedy="Split it.", limit_bytes=2)
    document = problem_document(error, instance="/api/v2/uploads")
    assert document == {
        "type": "urn:portal:problem:core.too_large",
        "title": "Too large",
        "status": 413,
        "detail": "The file has 3 GB.",
        "code": "core.too_large",
        "instance": "/api/v2/uploads",
        "field": "file",
        "value": "3000000000",
        "remedy": "Split it.",
        "facts": {"limit_bytes": "2"},
    }


def test_a_long_value_is_shown_shortened() -> None:
    assert len(problem_document(OddlyShaped(value="x" * 10_000))["value"]) == 200


def test_problems_keep_offsets_and_leave_out_what_is_absent() -> None:
    error = ValidationFailed(problems=[Problem(path="a.b", code="x.y", message="No.", start=3, end=7)])
    assert problem_document(error)["problems"] == [
        {"path": "a.b", "code": "x.y", "message": "No.", "severity": "error", "start": 3, "end": 7}
    ]


class LineSerializer(serializers.Serializer):
    amount = serializers.DecimalField(max_digits=6, decimal_places=2)


class OrderSerializer(serializers.Serializer):
    name = serializers.CharField()
    lines = LineSerializer(many=True)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"lines": []}, "name"),
        ({"name": "x", "lines": [{"amount": "1.00"}, {"amount": "abc"}]}, "lines[1].amount"),
        ({"name": "x", "lines": "no list"}, "lines"),
        ([1, 2], ""),
    ],
)
def test_a_serializer_error_becomes_problems_with_paths(data: object, path: str, db: None) -> None:
    serializer = OrderSerializer(data=data)
    assert not serializer.is_valid()
    response = handle_exception(ValidationError(serializer.errors), {})
    assert response is not None
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"
    assert [problem["path"] for problem in response.data["problems"]] == [path]


def test_several_messages_for_one_field_are_all_kept(db: None) -> None:
    error = ValidationError({"password": [ErrorDetail("Too short.", "short"), ErrorDetail("Too common.", "common")]})
    response = handle_exception(error, {})
    assert response is not None
    assert [(p["path"], p["code"]) for p in response.data["problems"]] == [
        ("password", "core.short"),
        ("password", "core.common"),
    ]


def test_consequences_map_to_statuses() -> None:
    assert (Conflict.status, TransientError.status) == (409, 503)


def test_an_unknown_error_is_left_to_django(db: None) -> None:
    assert handle_exception(RuntimeError("secret detail"), {}) is None
