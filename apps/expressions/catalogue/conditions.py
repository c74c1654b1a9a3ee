"""Conditions and conversions."""

from __future__ import annotations

from apps.expressions.catalogue.model import Function

CATEGORY = "Conditions"


def _condition(name: str, signature: str, description: str, example: str, result: str, **facts: object) -> Function:
    return Function(name, CATEGORY, signature, description, example, result, **facts)  # type: ignore[arg-type]


FUNCTIONS = (
    _condition(
        "coalesce",
        "coalesce(value, …)",
        "The first value that is not NULL.",
        "coalesce(NULL, 'n/a')",
        "n/a",
        args=(1, 20),
        nulls="first",
    ),
    _condition(
        "ifnull",
        "ifnull(value, other)",
        "The value, or the other when it is NULL.",
        "ifnull(NULL, 0)",
        "0",
        args=(2, 2),
        nulls="first",
    ),
    _condition(
        "nullif",
        "nullif(value, other)",
        "NULL when both are equal, else the value.",
        "nullif('', '')",
        "NULL",
        args=(2, 2),
        nulls="maybe",
        postgres="nullif({0}, {1})",
        pg_args=("same",),
    ),
    _condition(
        "if",
        "if(condition, then, else)",
        "One of two values; the same as CASE.",
        "if(5 > 3, 'big', 'small')",
        "big",
        args=(3, 3),
        nulls="maybe",
    ),
    _condition(
        "try",
        "try(value)",
        "The value, or NULL where computing it would be a row error.",
        "try(cast('n/a' as integer))",
        "NULL",
        args=(1, 1),
        nulls="maybe",
    ),
    _condition(
        "typeof",
        "typeof(value)",
        "Name of the value's type.",
        "typeof(12.50)",
        "DECIMAL(4,2)",
        args=(1, 1),
        nulls="never",
    ),
)
