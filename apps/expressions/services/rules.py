"""Our own rules on top of the engine's types: what is legal SQL and still not what a careful person means."""

from __future__ import annotations

from apps.expressions.catalogue import FUNCTIONS
from apps.expressions.choices import Code
from apps.expressions.contracts import Problem
from apps.expressions.exceptions import EvaluationFailed, EvaluationMemory, EvaluationTimeout
from apps.expressions.services.binding import Names, Types, Unresolved
from apps.expressions.services.rendering import assemble, call_sql, outside_lambdas, quote_text
from apps.expressions.services.sandbox import thread_sandbox
from apps.expressions.tree import (
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Constant,
    Element,
    InList,
    IsNull,
    Like,
    ListOf,
    Member,
    Name,
    Node,
    Number,
    Slice,
    StructOf,
    Text,
    Unary,
)
from apps.expressions.types import SqlType, fit

COMPARISONS = {"=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"}
_NULL_SAFE = {"IS DISTINCT FROM", "IS NOT DISTINCT FROM"}
_CAST_HINT = "Convert one side: CAST(value AS type), or TRY_CAST for NULL where it fails."


def find_problems(tree: Node, types: Types) -> list[Problem]:
    """Errors and warnings of all parts outside of lambdas."""
    found: list[Problem] = []
    for node in outside_lambdas(tree):
        match node:
            case Binary(op="AND" | "OR"):
                found += _booleans((node.left, node.right), types, node.op)
            case Binary() if node.op in COMPARISONS:
                found += _comparison(node, node.left, node.right, types, null_safe=node.op in _NULL_SAFE)
            case Binary(op="/" | "//" | "%"):
                found += _division(node, node.op, node.left, node.right, types)
            case Binary(op="+" | "-" | "*"):
                found += _mixed_numbers(node, types)
            case Unary(op="NOT"):
                found += _booleans((node.operand,), types, "NOT")
            case Case():
                found += _booleans(tuple(condition for condition, _ in node.whens), types, "WHEN")
            case Between():
                found += _comparison(node, node.operand, node.low, types)
                found += _comparison(node, node.operand, node.high, types)
            case InList():
                for item in node.items:
                    if not (isinstance(item, Constant) and item.value is None):
                        found += _comparison(node, node.operand, item, types)
            case Call():
                found += _call(node, types)
            case Cast():
                found += _cast(node, types)
    return found


def _call(node: Call, types: Types) -> list[Problem]:
    if node.name == "mod":
        return _division(node, "%", node.args[0], node.args[1], types)
    if node.name == "if":
        return _booleans(node.args[:1], types, "if()")
    if node.name.startswith("regexp_"):
        return _pattern(node)
    if node.name == "nullif":
        return _comparison(node, node.args[0], node.args[1], types)
    return []


def _pattern(node: Call) -> list[Problem]:
    """A pattern is tried on an empty text now: some functions look at it only when a row comes."""
    rest = [arg for arg in node.args[1:] if isinstance(arg, Text | Number)]
    args = ["''", *(assemble(arg, str) for arg in rest)] if len(rest) == len(node.args) - 1 else []
    tried = call_sql(node, args) if args else f"regexp_matches('', {assemble(node.args[1], str)})"
    try:
        thread_sandbox().rows(f"SELECT {tried}", 1.0)
    except (EvaluationFailed, EvaluationTimeout, EvaluationMemory) as error:
        why = error.message.split(": ", 1)[-1]
        span = (node.args[1].start, node.args[1].end)
        return [Problem(f"The pattern is not possible: {why}.", Code.TYPE_MISMATCH, "error", *span)]
    return []


def _cast(node: Cast, types: Types) -> list[Problem]:
    from apps.expressions.types import parse_type

    source = types[node.operand]
    how, why = fit(source, parse_type(node.type))
    if how == "impossible":
        return [Problem(f"{why}.", Code.TYPE_MISMATCH, "error", node.start, node.end)]
    return []


def _booleans(nodes: tuple[Node, ...], types: Types, where: str) -> list[Problem]:
    found = []
    for node in nodes:
        type_ = types[node]
        if type_.family not in {"boolean", "null"}:
            message = f"{where} needs a condition; this is {type_}."
            found.append(
                Problem(message, Code.TYPE_MISMATCH, "error", node.start, node.end, "Compare it with a value.")
            )
    return found


def _comparison(node: Node, left: Node, right: Node, types: Types, *, null_safe: bool = False) -> list[Problem]:
    for side, other in ((left, right), (right, left)):
        if isinstance(side, Constant) and side.value is None and not null_safe:
            message = "A comparison with NULL is never true."
            return [Problem(message, Code.ALWAYS_NULL, "warning", other.start, side.end or node.end, "Write IS NULL.")]
    a, b = types[left], types[right]
    families = {a.family, b.family}
    if "text" not in families or len(families) == 1 or "null" in families or families == {"text", "json"}:
        return _comparable(node, a, b)
    text, other = (left, right) if a.family == "text" else (right, left)
    if isinstance(text, Text):
        return _literal(text, types[other])
    hint = f"Write the number as a text: '{other.value}'." if isinstance(other, Number) else _CAST_HINT
    message = f"{a} cannot be compared with {b}."
    return [Problem(message, Code.TYPE_MISMATCH, "error", node.start, node.end, hint)]


def _comparable(node: Node, a: SqlType, b: SqlType) -> list[Problem]:
    if {a.family, b.family} == {"boolean", "integer"}:
        return [Problem(f"{a} cannot be compared with {b}.", Code.TYPE_MISMATCH, "error", node.start, node.end)]
    return []


def _literal(text: Text, target: SqlType) -> list[Problem]:
    """A text literal next to a date or number is read as one: it must be one."""
    try:
        ok = thread_sandbox().rows(f"SELECT TRY_CAST({quote_text(text.value)} AS {target}) IS NOT NULL")[0][0]
    except EvaluationFailed:
        ok = False
    if ok:
        return []
    message = f"{text.value!r} is not a {target}."
    hint = "Dates are written '2024-05-31'." if target.family in {"date", "timestamp", "timestamptz"} else None
    return [Problem(message, Code.TYPE_MISMATCH, "error", text.start, text.end, hint)]


def _division(node: Node, op: str, left: Node, right: Node, types: Types) -> list[Problem]:
    found: list[Problem] = []
    a, b = types[left], types[right]
    span = (node.start, node.end)
    if op == "//" and not {a.family, b.family} <= {"integer", "null"}:
        hint = "Write trunc(a / b), or cast both sides to BIGINT."
        return [Problem(f"// needs whole numbers; this is {a} // {b}.", Code.TYPE_MISMATCH, "error", *span, hint)]
    if op == "/" and "decimal" in {a.family, b.family} and "double" not in {a.family, b.family}:
        message = f"{a} / {b} gives DOUBLE, which is not exact."
        hint = "Round the result: round(cast(a / b as decimal(38,10)), 2)."
        found.append(Problem(message, Code.INEXACT, "warning", *span, hint))
    if isinstance(right, Number):
        if float(right.value) == 0:
            found.append(Problem("This divides by zero.", Code.DIVISION_BY_ZERO, "error", right.start, right.end))
    elif not _never_zero(right):
        message = "Rows in which the divisor is zero go to the quarantine."
        hint = "nullif(divisor, 0) gives NULL instead."
        found.append(Problem(message, Code.DIVISION_BY_ZERO, "warning", right.start, right.end, hint))
    return found


def _never_zero(node: Node) -> bool:
    if isinstance(node, Call) and node.name == "nullif":
        return isinstance(node.args[1], Number) and float(node.args[1].value) == 0
    if isinstance(node, Cast):
        return isinstance(node.operand, Number) and float(node.operand.value) != 0
    return isinstance(node, Unary) and isinstance(node.operand, Number) and float(node.operand.value) != 0


def _mixed_numbers(node: Binary, types: Types) -> list[Problem]:
    a, b = types[node.left], types[node.right]
    if {a.family, b.family} == {"decimal", "double"}:
        message = f"{a} {node.op} {b} gives DOUBLE, which is not exact."
        return [Problem(message, Code.INEXACT, "warning", node.start, node.end, "Cast the DOUBLE to a DECIMAL first.")]
    return []


def is_nullable(node: Node, names: Names) -> bool:
    """Whether the value may be NULL in a row that is not rejected."""
    match node:
        case Text() | Number() | IsNull() | ListOf() | StructOf():
            return False
        case Constant():
            return node.value is None
        case Name():
            try:
                found = names.resolve(node)
            except Unresolved:  # a lambda's variable
                return True
            return found.field.nullable or bool(found.path)
        case Element() | Slice() | Member():
            return True
        case Binary(op="IS DISTINCT FROM" | "IS NOT DISTINCT FROM"):
            return False
        case Binary(op="->" | "->>"):
            return True
        case Cast():
            return node.safe or is_nullable(node.operand, names)
        case Case():
            return node.default is None or any(
                is_nullable(value, names) for value in (*(value for _, value in node.whens), node.default)
            )
        case Call():
            return _nullable_call(node, names)
        case Like():
            return is_nullable(node.operand, names) or is_nullable(node.pattern, names)
    return any(is_nullable(child, names) for child in node.children())


def _nullable_call(node: Call, names: Names) -> bool:
    rule = FUNCTIONS[node.name].nulls
    if node.name == "if":
        return any(is_nullable(arg, names) for arg in node.args[1:])
    if rule == "maybe":
        return True
    if rule == "never":
        return False
    values = [is_nullable(arg, names) for position, arg in enumerate(node.args)
              if position not in FUNCTIONS[node.name].lambdas]  # fmt: skip
    return all(values) if rule == "first" else any(values)
