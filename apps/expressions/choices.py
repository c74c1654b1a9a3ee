"""Stable codes. They appear in problem documents, quarantined rows and tests; never rename one."""

from __future__ import annotations

from typing import Literal

Severity = Literal["error", "warning"]
Dialect = Literal["duckdb", "postgres"]


class Limits:
    """Bounds of one expression, enforced when it is parsed."""

    SOURCE_CHARS = 2_000
    NODES = 300
    DEPTH = 60
    LIST_ITEMS = 100
    LITERAL_CHARS = 1_000
    NUMBER_DIGITS = 38
    LAMBDA_DEPTH = 2
    PAD_WIDTH = 1_000
    GROWTH = 400
    FIELDS = 2_000


class Code:
    """Findings about an expression's text."""

    EMPTY = "expressions.empty"
    TOO_LONG = "expressions.too_long"
    TOO_COMPLEX = "expressions.too_complex"
    TOO_DEEP = "expressions.too_deep"
    SYNTAX = "expressions.syntax"
    NOT_ALLOWED = "expressions.not_allowed"
    UNKNOWN_FUNCTION = "expressions.unknown_function"
    WRONG_ARGUMENTS = "expressions.wrong_arguments"
    UNKNOWN_COLUMN = "expressions.unknown_column"
    UNKNOWN_FIELD = "expressions.unknown_field"
    UNKNOWN_TYPE = "expressions.unknown_type"
    TYPE_MISMATCH = "expressions.type_mismatch"
    NOT_ASSIGNABLE = "expressions.not_assignable"
    LOSSY = "expressions.lossy"
    INEXACT = "expressions.inexact"
    DIVISION_BY_ZERO = "expressions.division_by_zero"
    MAY_BE_NULL = "expressions.may_be_null"
    ALWAYS_NULL = "expressions.always_null"


class RowCode:
    """What can be wrong with one row."""

    CONVERSION = "expressions.row.conversion"
    OVERFLOW = "expressions.row.overflow"
    DIVISION_BY_ZERO = "expressions.row.division_by_zero"
    DOMAIN = "expressions.row.domain"
    FUNCTION = "expressions.row.function"
    NULL = "expressions.row.null"
    RULE = "expressions.row.rule"
    INPUT = "expressions.row.input"


ROW_TEXT = {
    RowCode.CONVERSION: "cannot be converted",
    RowCode.OVERFLOW: "is out of range",
    RowCode.DIVISION_BY_ZERO: "divides by zero",
    RowCode.DOMAIN: "is outside of the function's domain",
    RowCode.FUNCTION: "cannot be computed from this row",
    RowCode.NULL: "must not be empty",
}
