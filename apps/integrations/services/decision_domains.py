"""Domains of a decision table's inputs, and the few values that stand for a whole domain.

A condition that only compares its input with constants is decided by where the value lies among these constants.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.expressions.tree import Between, Binary, Cast, Constant, InList, IsNull, Name, Node, Number, Text, Unary

COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"})
NUMBER_TYPE = "DECIMAL(38,10)"


@dataclass(frozen=True)
class Value:
    """A value that stands for a part of a domain.

    Attributes:
        value: it.
        low, high: the part's ends; the value itself where they are equal, None where there is no end.
        closed: the part has its low and its high end.
        listed: values of a list, in place of ends.
    """

    value: Any
    low: Any = None
    high: Any = None
    closed: tuple[bool, bool] = (False, False)
    listed: tuple[Any, ...] = ()

    def joined(self, after: Value) -> Value:
        """This part and the one that follows it."""
        if self.listed:
            return Value(self.value, listed=self.listed + after.listed)
        return Value(self.value, self.low, after.high, (self.closed[0], after.closed[1]))

    def text(self, name: str) -> str:
        """The part for people: `100 <= amount < 200`."""
        if self.value is None:
            return f"{name} is null"
        if self.listed:
            shown = ", ".join(map(repr, self.listed))
            return f"{name} = {shown}" if len(self.listed) == 1 else f"{name} is one of {shown}"
        if self.low is not None and self.low == self.high:
            return f"{name} = {self.low}"
        low_sign, high_sign = ("<=" if closed else "<" for closed in self.closed)
        if self.low is None and self.high is None:
            return f"{name} is anything"
        if self.low is None:
            return f"{name} {high_sign} {self.high}"
        if self.high is None:
            return f"{name} {'>=' if self.closed[0] else '>'} {self.low}"
        return f"{self.low} {low_sign} {name} {high_sign} {self.high}"


def condition_type(domain: Mapping[str, Any] | None) -> str | None:
    """Type that conditions see; None takes it from the value, because no domain was declared."""
    if domain is None:
        return None
    if domain["type"] == "enum":
        values = domain["values"]
        if all(isinstance(value, bool) for value in values):
            return "BOOLEAN"
        return "VARCHAR" if all(isinstance(value, str) for value in values) else NUMBER_TYPE
    return {"integer": "BIGINT", "date": "DATE"}.get(domain["type"], NUMBER_TYPE)


def is_inside(domain: Mapping[str, Any] | None, value: Any) -> bool:
    """Whether a JSON value belongs to a declared domain."""
    if domain is None:
        return True
    if value is None:
        return bool(domain.get("nullable", False))
    if domain["type"] == "enum":
        return any(type(one) is type(value) and one == value for one in domain["values"])
    try:
        found = _scalar(domain["type"], value)
    except (ValueError, TypeError, InvalidOperation):
        return False
    low, high = bounds_of(domain)
    return (low is None or low <= found) and (high is None or found <= high)


class NotComparable(Exception):
    """The condition does more than compare its input with constants."""


def list_constants(tree: Node, kind: str) -> Iterator[Any]:
    """Constants that a condition compares its input with.

    Raises:
        NotComparable: it does something else, too.
    """
    match tree:
        case Constant() | Name():
            return
        case Binary(op="AND" | "OR"):
            yield from list_constants(tree.left, kind)
            yield from list_constants(tree.right, kind)
        case Unary(op="NOT"):
            yield from list_constants(tree.operand, kind)
        case IsNull(operand=Name()):
            return
        case Binary() if tree.op in COMPARISONS:
            for side in (tree.left, tree.right):
                if not isinstance(side, Name):
                    yield from _constant(side, kind)
        case InList(operand=Name()):
            for item in tree.items:
                yield from _constant(item, kind)
        case Between(operand=Name()):
            yield from _constant(tree.low, kind)
            yield from _constant(tree.high, kind)
        case _:
            raise NotComparable


def _constant(node: Node, kind: str) -> Iterator[Any]:
    sign = 1
    if isinstance(node, Unary) and node.op == "-":
        node, sign = node.operand, -1
    if isinstance(node, Cast) and isinstance(node.operand, Text):
        node = node.operand
    if isinstance(node, Constant):
        return
    if kind == "enum":  # each value is looked at itself
        if not isinstance(node, Number | Text):
            raise NotComparable
        return
    if isinstance(node, Text) and kind == "date":
        yield date.fromisoformat(node.value)
    elif isinstance(node, Number) and kind in ("number", "integer"):
        yield sign * Decimal(node.value)
    else:
        raise NotComparable


def _scalar(kind: str, value: Any) -> Any:
    if kind == "date":
        return date.fromisoformat(value)
    if isinstance(value, bool):
        raise TypeError
    found = Decimal(str(value))
    if not found.is_finite() or (kind == "integer" and found != found.to_integral_value()):
        raise ValueError
    return found


def bounds_of(domain: Mapping[str, Any]) -> tuple[Any, Any]:
    low, high = domain.get("min"), domain.get("max")
    kind = domain["type"]
    return None if low is None else _scalar(kind, low), None if high is None else _scalar(kind, high)


def representatives_of(domain: Mapping[str, Any], constants: set[Any]) -> Iterator[Value]:
    """Values of the domain of which one behaves like each other value: the constants, and one between any two."""
    if domain.get("nullable", False):
        yield Value(None)
    if domain["type"] == "enum":
        for value in domain["values"]:
            yield Value(value, listed=(value,))
        return
    low, high = bounds_of(domain)
    kind = domain["type"]
    inside = {one for one in constants if (low is None or low <= one) and (high is None or one <= high)}
    marks = sorted(inside | {one for one in (low, high) if one is not None})
    if not marks:
        yield Value(date(2000, 1, 1) if kind == "date" else Decimal(0))
        return
    step: Any = timedelta(days=1) if kind == "date" else Decimal(1)
    if low is None:
        yield Value(math.ceil(marks[0]) - 1 if kind == "integer" else marks[0] - step, high=marks[0])
    for index, mark in enumerate(marks):
        if kind != "integer" or mark == mark.to_integral_value():
            yield Value(mark, mark, mark, (True, True))
        if index + 1 < len(marks):
            between = _between(kind, mark, marks[index + 1])
            if between is not None:
                yield Value(between, mark, marks[index + 1])
    if high is None:
        yield Value(math.floor(marks[-1]) + 1 if kind == "integer" else marks[-1] + step, low=marks[-1])


def _between(kind: str, low: Any, high: Any) -> Any:
    if kind == "number":
        return (low + high) / 2
    found = low + timedelta(days=1) if kind == "date" else Decimal(math.floor(low) + 1)
    return found if found < high else None
