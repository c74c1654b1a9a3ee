"""The language's own tree: what the allow-list lets through, with character offsets. Anything else has no node.

Only this tree is ever turned into SQL, so text that a person typed never reaches the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A place in the source: `start` inclusive, `end` exclusive."""

    start: int
    end: int

    def children(self) -> Iterator[Node]:
        """Direct children in source order."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Node):
                yield value
            elif isinstance(value, tuple):
                for part in value:
                    if isinstance(part, Node):
                        yield part
                    elif isinstance(part, tuple):
                        yield from (piece for piece in part if isinstance(piece, Node))

    def walk(self) -> Iterator[Node]:
        """This node and all below, parents first."""
        yield self
        for child in self.children():
            yield from child.walk()


@dataclass(frozen=True, slots=True, eq=False)
class Text(Node):
    """A string literal."""

    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Number(Node):
    """A number literal, as written."""

    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Node):
    """TRUE, FALSE or NULL."""

    value: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class IntervalOf(Node):
    """INTERVAL amount unit."""

    amount: Node
    unit: str


@dataclass(frozen=True, slots=True, eq=False)
class Name(Node):
    """A column, possibly with a path into it: `customer.address.city`, or a lambda's variable."""

    parts: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Member(Node):
    """Field of a STRUCT value: `{…}.a`, `items[1].price`."""

    base: Node
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Element(Node):
    """Element of a list (1 is the first), character of a text, value of a map."""

    base: Node
    index: Node


@dataclass(frozen=True, slots=True, eq=False)
class Slice(Node):
    """Part of a list or text, both ends included."""

    base: Node
    low: Node | None
    high: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Node):
    """`-x`, `NOT x`."""

    op: str
    operand: Node


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Node):
    """Arithmetic, comparison, logic, concatenation, JSON arrows."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True, eq=False)
class IsNull(Node):
    """`x IS NULL`."""

    operand: Node


@dataclass(frozen=True, slots=True, eq=False)
class InList(Node):
    """`x IN (a, b)`."""

    operand: Node
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Between(Node):
    """`x BETWEEN low AND high`."""

    operand: Node
    low: Node
    high: Node


@dataclass(frozen=True, slots=True, eq=False)
class Like(Node):
    """`x LIKE pattern`, `x ILIKE pattern`, with an optional escape character."""

    op: str
    operand: Node
    pattern: Node
    escape: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Case(Node):
    """`CASE WHEN … THEN … ELSE … END`; the simple form is turned into this one."""

    whens: tuple[tuple[Node, Node], ...]
    default: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Node):
    """`CAST(x AS type)`, `x::type`; `safe` for TRY_CAST."""

    operand: Node
    type: str
    safe: bool


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    """A function of the catalogue."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Lambda(Node):
    """`lambda x: …` as an argument of a list function."""

    params: tuple[str, ...]
    body: Node


@dataclass(frozen=True, slots=True, eq=False)
class ListOf(Node):
    """`[a, b, c]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StructOf(Node):
    """`{'a': 1, 'b': 2}`."""

    names: tuple[str, ...]
    values: tuple[Node, ...]
