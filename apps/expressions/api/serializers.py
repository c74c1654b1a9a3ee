"""Shapes of the expression API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.expressions.choices import Limits
from apps.expressions.types import UnknownTypeName, parse_type

MAX_ROWS = 100
MAX_EXPRESSIONS = 200
_CHARS = Limits.SOURCE_CHARS * 2  # longer ones are refused as bodies; up to there the checker's own message is better


def check_type(name: str) -> str:
    """The binding spelling of a type name, or a validation error."""
    try:
        return str(parse_type(name))
    except UnknownTypeName as error:
        raise serializers.ValidationError(str(error), code="expressions.unknown_type") from None


class ColumnSerializer(serializers.Serializer[Any]):
    """One column of the schema."""

    name = serializers.CharField(max_length=255, trim_whitespace=False)
    type = serializers.CharField(max_length=20_000)
    nullable = serializers.BooleanField(default=True)

    def validate_type(self, value: str) -> str:
        """Known types only."""
        return check_type(value)


class CheckInput(serializers.Serializer[Any]):
    """An expression and what it may use."""

    expression = serializers.CharField(max_length=_CHARS, allow_blank=True, trim_whitespace=False)
    schema = serializers.ListField(child=ColumnSerializer(), max_length=Limits.FIELDS)
    target_type = serializers.CharField(max_length=20_000, required=False, allow_null=True)
    mapped = serializers.ListField(child=ColumnSerializer(), max_length=Limits.FIELDS, required=False)

    def validate_target_type(self, value: str | None) -> str | None:
        """Known types only."""
        return check_type(value) if value else None


class ProblemSerializer(serializers.Serializer[Any]):
    """One finding; `start` and `end` are character offsets, end exclusive."""

    message = serializers.CharField()
    code = serializers.CharField()
    severity = serializers.ChoiceField(choices=["error", "warning"])
    start = serializers.IntegerField()
    end = serializers.IntegerField()
    hint = serializers.CharField(allow_null=True)


class CheckResult(serializers.Serializer[Any]):
    """What is known about the expression."""

    ok = serializers.BooleanField()
    type = serializers.CharField(allow_null=True)
    nullable = serializers.BooleanField()
    columns = serializers.ListField(child=serializers.CharField())
    problems = ProblemSerializer(many=True)


class NamedExpression(serializers.Serializer[Any]):
    """An expression and the name of its value."""

    name = serializers.CharField(max_length=255)
    expression = serializers.CharField(max_length=_CHARS, allow_blank=True, trim_whitespace=False)


class EvaluateInput(serializers.Serializer[Any]):
    """Expressions, columns, and at most 100 rows."""

    expressions = serializers.ListField(
        child=NamedExpression(), allow_empty=False, min_length=1, max_length=MAX_EXPRESSIONS
    )
    schema = serializers.ListField(child=ColumnSerializer(), max_length=Limits.FIELDS)
    rows = serializers.ListField(child=serializers.DictField(), max_length=MAX_ROWS)

    def validate_expressions(self, value: list[dict[str, str]]) -> list[dict[str, str]]:
        """Names are the keys of the answer."""
        if len({item["name"] for item in value}) != len(value):
            raise serializers.ValidationError("Two expressions have the same name.", code="unique")
        return value


class RowFault(serializers.Serializer[Any]):
    """Why an expression has no value for a row."""

    name = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class EvaluatedRow(serializers.Serializer[Any]):
    """Values by name; one with an error is null."""

    values = serializers.DictField()
    errors = RowFault(many=True)  # type: ignore[assignment] # the answer's name; the class's own is not used here


class EvaluateResult(serializers.Serializer[Any]):
    """Rows in the order given."""

    rows = EvaluatedRow(many=True)


class FunctionSerializer(serializers.Serializer[Any]):
    """One function of the language, with an example that runs."""

    name = serializers.CharField()
    category = serializers.CharField()
    signature = serializers.CharField()
    description = serializers.CharField()
    example = serializers.CharField()
    result = serializers.CharField()


class FunctionList(serializers.Serializer[Any]):
    """Every allowed function."""

    results = FunctionSerializer(many=True)
