"""The tree as the engine's SQL, exactly as written: an error in a row raises. Used to ask for types and in lambdas."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apps.expressions.catalogue import FUNCTIONS
from apps.expressions.tree import (
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Constant,
    Element,
    InList,
    IntervalOf,
    IsNull,
    Lambda,
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
from apps.expressions.types import quote_name

Render = Callable[[Node], str]
NameRule = Callable[[Name], str]
INTERVALS = {
    "year": "to_years", "quarter": "to_quarters", "month": "to_months", "week": "to_weeks", "day": "to_days",
    "hour": "to_hours", "minute": "to_minutes", "second": "to_seconds", "millisecond": "to_milliseconds",
}  # fmt: skip
# A cast that always fails, folded by no optimizer because it raises: the only error TRY() accepts around itself.
_RAISE_ZERO = "CAST('division by zero' AS DOUBLE)"


def quote_text(value: str) -> str:
    """An SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def member_of(sql: str, path: tuple[str, ...]) -> str:
    """A path into a STRUCT; the function form cannot be taken for a qualified column."""
    for name in path:
        sql = f"struct_extract({sql}, {quote_text(name)})"
    return sql


class PlainRenderer:
    """Renders a tree whose names `name_rule` knows; variables of lambdas are its own business."""

    def __init__(self, name_rule: NameRule) -> None:
        """Keep how columns are spelled."""
        self.name_rule = name_rule
        self.variables: list[set[str]] = []
        self.bound = 0

    def render(self, node: Node) -> str:
        """The SQL of one node; every operation is in parentheses, so that precedence is ours."""
        match node:
            case Name():
                return self._name(node)
            case Binary():
                return self._binary(node)
            case Lambda():
                return self._lambda(node)
            case Call():
                return self._call(node)
        return assemble(node, self.render)

    def _name(self, node: Name) -> str:
        first = node.parts[0].lower()
        if any(first in names for names in self.variables):
            return member_of(quote_name(first), node.parts[1:])
        return self.name_rule(node)

    def _binary(self, node: Binary) -> str:
        left, right = self.render(node.left), self.render(node.right)
        if node.op == "/" and self.variables and not isinstance(node.right, Number):
            right = self._never_zero(node.right, right)
        return f"({left} {node.op} {right})"

    def _never_zero(self, node: Node, sql: str) -> str:
        """The divisor, raising where it is zero (the engine itself would answer infinity)."""
        if isinstance(node, Name):
            return f"(CASE WHEN {sql} = 0 THEN {_RAISE_ZERO} ELSE {sql} END)"
        # Bound to a name by a lambda over one element: text repeated at every level would grow exponentially.
        self.bound += 1
        name = quote_name(f"_d{self.bound}")
        return f"list_transform([{sql}], lambda {name}: CASE WHEN {name} = 0 THEN {_RAISE_ZERO} ELSE {name} END)[1]"

    def _lambda(self, node: Lambda) -> str:
        self.variables.append({name.lower() for name in node.params})
        body = self.render(node.body)
        self.variables.pop()
        return f"lambda {', '.join(quote_name(name.lower()) for name in node.params)}: {body}"

    def _call(self, node: Call) -> str:
        if node.name == "try":
            return f"TRY({self.render(node.args[0])})"
        return call_sql(node, [self.render(arg) for arg in node.args])


def call_sql(node: Call, args: list[str]) -> str:
    """A call with its arguments rendered."""
    function = FUNCTIONS[node.name]
    if node.name == "if":
        return f"(CASE WHEN {args[0]} THEN {args[1]} ELSE {args[2]} END)"
    if function.duckdb == "%":
        return f"({args[0]} % {args[1]})"
    if function.duckdb:
        return function.duckdb.format(*args, all=", ".join(args))
    return f"{node.name}({', '.join(args)})"


def assemble(node: Node, render: Render) -> str:
    """The SQL of a node whose children render by `render`: everything that is the same with and without checks."""
    match node:
        case Text():
            return quote_text(node.value)
        case Number():
            return node.value
        case Constant():
            return {True: "TRUE", False: "FALSE", None: "NULL"}[node.value]
        case IntervalOf():
            return f"{INTERVALS[node.unit]}({render(node.amount)})"
        case Member():
            return member_of(render(node.base), (node.name,))
        case Element():
            return f"({render(node.base)})[{render(node.index)}]"
        case Slice():
            low = render(node.low) if node.low else ""
            high = render(node.high) if node.high else ""
            return f"({render(node.base)})[{low}:{high}]"
        case Unary():
            return f"({node.op} {render(node.operand)})"
        case Binary():
            return f"({render(node.left)} {node.op} {render(node.right)})"
        case IsNull():
            return f"({render(node.operand)} IS NULL)"
        case InList():
            return f"({render(node.operand)} IN ({', '.join(map(render, node.items))}))"
        case Between():
            return f"({render(node.operand)} BETWEEN {render(node.low)} AND {render(node.high)})"
        case Like():
            escape = f" ESCAPE {quote_text(node.escape)}" if node.escape else ""
            return f"({render(node.operand)} {node.op} {render(node.pattern)}{escape})"
        case Case():
            whens = " ".join(f"WHEN {render(c)} THEN {render(v)}" for c, v in node.whens)
            default = f" ELSE {render(node.default)}" if node.default else ""
            return f"(CASE {whens}{default} END)"
        case Cast():
            return f"{'TRY_CAST' if node.safe else 'CAST'}({render(node.operand)} AS {node.type})"
        case ListOf():
            return f"[{', '.join(map(render, node.items))}]"
        case StructOf():
            fields = zip(node.names, node.values, strict=True)
            return f"struct_pack({', '.join(f'{quote_name(n)} := {render(v)}' for n, v in fields)})"
    raise TypeError(f"no rule for {type(node).__name__}")


def outside_lambdas(node: Node) -> Iterator[Node]:
    """This node and all below, parents first, without what is inside of lambdas."""
    if isinstance(node, Lambda):
        return
    yield node
    for child in node.children():
        yield from outside_lambdas(child)
