"""How much larger than its input a value can become, read off the tree.

The engine's memory limit and its interrupt both come too late for text: one `replace` inside of another multiplies, and
forty of them fit into 2,000 characters. So the factor is bounded before anything runs. Columns and literals count one.
"""

from __future__ import annotations

import re

from apps.expressions.choices import Code, Limits
from apps.expressions.contracts import Problem
from apps.expressions.tree import (
    Binary,
    Call,
    Case,
    Cast,
    Element,
    Lambda,
    ListOf,
    Member,
    Node,
    Number,
    Slice,
    StructOf,
    Text,
)

_JOINS = {"concat", "concat_ws", "list_concat", "list_value", "greatest", "least", "coalesce", "ifnull", "struct_pack"}
_GROWING = {"concat", "concat_ws", "list_concat", "list_value", "replace", "regexp_replace", "array_to_string", "lpad",
            "rpad", "to_json", "repeat", "string_split", "list_transform"}  # fmt: skip
_SMALL = {"length", "len", "strpos", "position", "contains", "starts_with", "ends_with", "list_contains", "list_count",
          "list_sum", "list_avg", "md5", "sha256", "hash", "levenshtein", "year", "month", "day", "date_part",
          "date_diff", "regexp_matches", "regexp_full_match", "json_valid", "typeof", "list_position",
          "ascii"}  # fmt: skip
_BACK_REFERENCE = re.compile(r"\\\d")


def find_growth_problem(tree: Node) -> Problem | None:
    """The finding when a value could outgrow its input, or None."""
    for node in tree.walk():
        if isinstance(node, Call) and node.name == "list_reduce" and isinstance(node.args[1], Lambda):
            body = node.args[1].body
            if any(_grows(part) for part in body.walk()):
                hint = "Use array_to_string(list, separator) or list_transform(list, …)."
                message = "list_reduce() folds numbers and dates; texts and lists would grow with each element."
                return Problem(message, Code.TOO_COMPLEX, "error", node.start, node.end, hint)
        if _growth(node) > Limits.GROWTH:
            message = f"The value could grow to more than {Limits.GROWTH} times its input."
            return Problem(message, Code.TOO_COMPLEX, "error", node.start, node.end, "Do less at a time.")
    return None


def _grows(node: Node) -> bool:
    if isinstance(node, Binary):
        return node.op == "||"
    if isinstance(node, Cast):
        return node.type.endswith("[]") or node.type in {"VARCHAR", "JSON"}
    return isinstance(node, ListOf | StructOf) or (isinstance(node, Call) and node.name in _GROWING)


def _growth(node: Node) -> float:
    match node:
        case Binary(op="||"):
            return _growth(node.left) + _growth(node.right)
        case Binary(op="->" | "->>"):
            return _growth(node.left)
        case Case():
            values = [value for _, value in node.whens]
            return max(_growth(value) for value in [*values, *([node.default] if node.default else [])])
        case Cast():
            written = node.type in {"VARCHAR", "JSON"} and isinstance(node.operand, Call | Cast | ListOf | StructOf)
            return _growth(node.operand) * (2 if written else 1)
        case ListOf(items=items) | StructOf(values=items):
            return max(1.0, sum(_growth(item) for item in items))
        case Element() | Slice() | Member():
            return _growth(node.base)
        case Lambda():
            return _growth(node.body)
        case Call():
            return _call_growth(node)
    return 1.0


def _call_growth(node: Call) -> float:
    args = node.args
    if node.name in _SMALL or not args:
        return 1.0
    first = _growth(args[0])
    if node.name in _JOINS:
        return sum(_growth(arg) for arg in args)
    if node.name == "if":
        return max(_growth(arg) for arg in args[1:])
    if node.name == "list_transform":
        return first * _growth(args[1])
    if node.name == "replace":
        taken = len(args[1].value) if isinstance(args[1], Text) else 1
        return first * max(1.0, _length(args[2]) / max(1, taken))
    if node.name == "regexp_replace":  # an empty match puts the replacement between all characters
        text = args[2].value if isinstance(args[2], Text) else ""
        return first * (1 + len(text) + len(_BACK_REFERENCE.findall(text)))
    if node.name == "array_to_string":
        return first * (1 + _length(args[1]))
    if node.name == "repeat":
        count = int(args[1].value) if isinstance(args[1], Number) else Limits.GROWTH
        return first * max(1.0, count * _length(args[0]) / Limits.LITERAL_CHARS)
    if node.name in {"lpad", "rpad"}:
        return first + 1
    if node.name == "to_json":  # each quote and backslash is escaped again at every level
        return first * 3
    return first


def _length(node: Node) -> int:
    return len(node.value) if isinstance(node, Text) else Limits.LITERAL_CHARS
