"""Number functions."""

from __future__ import annotations

from apps.expressions.catalogue.model import Function, bounded_literal

CATEGORY = "Numbers"


def _number(name: str, signature: str, description: str, example: str, result: str, **facts: object) -> Function:
    return Function(name, CATEGORY, signature, description, example, result, **facts)  # type: ignore[arg-type]


FUNCTIONS = (
    _number("abs", "abs(number)", "Without its sign.", "abs(-12.50)", "12.50", args=(1, 1), fails=True,
            postgres="abs({0})", pg_args=("decimal",)),
    _number("sign", "sign(number)", "-1, 0 or 1.", "sign(-12.50)", "-1", args=(1, 1),
            postgres="sign({0})::smallint", pg_args=("exact",)),
    _number("round", "round(number [, digits])", "Rounded half away from zero; of a DECIMAL the result is exact.",
            "round(2.345, 2)", "2.35", args=(1, 2), fails=True, postgres="round({all})",
            pg_args=("decimal", "integer"), pg_guard=lambda call: (
                None if len(call.args) == 1 else bounded_literal(1, 30)(call))),
    _number("round_even", "round_even(number, digits)", "Rounded half to even (banker's rounding), as DOUBLE.",
            "round_even(2.5, 0)", "2.0", args=(2, 2), fails=True),
    _number("floor", "floor(number)", "Next whole number below.", "floor(-2.5)", "-3", args=(1, 1),
            postgres="floor({0})", pg_args=("number",)),
    _number("ceil", "ceil(number)", "Next whole number above.", "ceil(2.1)", "3", args=(1, 1),
            postgres="ceil({0})", pg_args=("number",)),
    _number("trunc", "trunc(number)", "Without its fraction.", "trunc(-2.7)", "-2", args=(1, 1),
            postgres="trunc({0})", pg_args=("number",)),
    _number("mod", "mod(a, b)", "Remainder; the same as a % b.", "mod(-7, 3)", "-1", args=(2, 2), duckdb="%"),
    _number("greatest", "greatest(value, …)", "The largest; NULLs are left out.", "greatest(1, 3, NULL)", "3",
            args=(1, 20), nulls="first", postgres="greatest({all})", pg_args=("same",)),
    _number("least", "least(value, …)", "The smallest; NULLs are left out.", "least(4, 3, NULL)", "3",
            args=(1, 20), nulls="first", postgres="least({all})", pg_args=("same",)),
    _number("sqrt", "sqrt(number)", "Square root, as DOUBLE.", "sqrt(9)", "3.0", args=(1, 1), domain="{0} < 0",
            postgres="sqrt({0}::double precision)", pg_args=("double",)),
    _number("power", "power(base, exponent)", "Base to the exponent, as DOUBLE; the same as base ^ exponent.",
            "power(2, 10)", "1024.0", args=(2, 2),
            domain="({0} = 0 AND {1} < 0) OR ({0} < 0 AND {1} <> floor({1}))"),
    _number("pow", "pow(base, exponent)", "The same as power.", "pow(2, 3)", "8.0", args=(2, 2),
            domain="({0} = 0 AND {1} < 0) OR ({0} < 0 AND {1} <> floor({1}))"),
    _number("exp", "exp(number)", "e to the number, as DOUBLE.", "exp(0)", "1.0", args=(1, 1)),
    _number("ln", "ln(number)", "Natural logarithm, as DOUBLE.", "ln(1)", "0.0", args=(1, 1), domain="{0} <= 0"),
    _number("log10", "log10(number)", "Logarithm to the base 10, as DOUBLE.", "log10(1000)", "3.0", args=(1, 1),
            domain="{0} <= 0"),
    _number("isnan", "isnan(double)", "Whether a DOUBLE is not a number.", "isnan(cast('nan' as double))", "true",
            args=(1, 1)),
    _number("isfinite", "isfinite(double)", "Whether a DOUBLE is neither infinite nor NaN.",
            "isfinite(cast('inf' as double))", "false", args=(1, 1)),
    _number("hash", "hash(value)", "A 64-bit fingerprint for bucketing; not for keys that must be unique.",
            "hash('a') = hash('a')", "true", args=(1, 10), nulls="never"),
)
