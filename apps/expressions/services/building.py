"""The allow-list: sqlglot's nodes one by one into the language's own; everything without a rule is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlglot import exp

from apps.expressions import tree
from apps.expressions.catalogue import FUNCTIONS, find_function, suggest_function
from apps.expressions.catalogue.dates import PARTS
from apps.expressions.choices import Code, Limits
from apps.expressions.contracts import Problem
from apps.expressions.services.grammar import Token, closing_brackets
from apps.expressions.types import UnknownTypeName, parse_type

Span = tuple[int, int]
_NUMBER = re.compile(r"^(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")
_BINARY: dict[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//", exp.Mod: "%", exp.Pow: "^",
    exp.DPipe: "||", exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.And: "AND", exp.Or: "OR", exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
    exp.JSONExtract: "->", exp.JSONExtractScalar: "->>",
}  # fmt: skip
_UNITS = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond", "quarter")
_AGGREGATES = {"sum", "avg", "min", "max", "count", "first", "last", "any_value", "string_agg", "list", "array_agg"}
_WHY: dict[type[exp.Expr], str] = {
    exp.Subquery: "A query inside of an expression is not possible.",
    exp.Select: "A query is not an expression.",
    exp.Exists: "A query inside of an expression is not possible.",
    exp.Window: "Window functions see other rows; an expression sees one row only.",
    exp.Star: "* stands for many columns; name the one you mean.",
    exp.Alias: "An expression has no AS; its name is the target field.",
    exp.Placeholder: "Parameters are not possible; use a column.",
    exp.Command: "This is a command, not an expression.",
    exp.Any: "ANY is not possible; use list_contains(list, value).",
    exp.ToMap: "MAP literals are not possible; use a struct {'name': value}.",
}


class Refused(Exception):
    """Something outside of the language; carries the finding."""

    def __init__(self, problem: Problem) -> None:
        """Keep the finding."""
        self.problem = problem
        super().__init__(problem.message)


class TreeBuilder:
    """Turns one parsed statement into the language's tree, with offsets."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        """Keep what offsets are looked up in."""
        self.source = source
        self.closings = closing_brackets(tokens)
        self.scopes: list[set[str]] = []

    def build(self, statement: exp.Expr) -> tree.Node:
        """The tree.

        Raises:
            Refused: a node, function, type or size that is not allowed.
        """
        return self._node(statement, (0, len(self.source)))

    def _node(self, node: Any, around: Span) -> tree.Node:
        span = self._span(node, around)
        operator = _BINARY.get(type(node))
        if operator:
            left, right = self._node(node.this, span), self._node(node.expression, span)
            return tree.Binary(left.start, max(left.end, right.end), operator, left, right)
        rule = _RULES.get(type(node))
        if rule is None:
            kind = type(node).__name__
            why = _WHY.get(type(node)) or f"{_shown(kind)} is not part of the language."
            raise self._refused(why, Code.NOT_ALLOWED, span)
        return rule(self, node, span)

    def _span(self, node: Any, around: Span) -> Span:
        """Cover of all known offsets below, widened to the closing bracket of a call."""
        if not isinstance(node, exp.Expr):
            return around
        starts: list[int] = []
        ends: list[int] = []
        for part in node.walk():
            start, end = part.meta.get("start"), part.meta.get("end")
            if start is not None and end is not None:
                starts.append(start)
                ends.append(self.closings.get(end + 1, end + 1) if isinstance(part, exp.Anonymous) else end + 1)
        return (min(starts), max(ends)) if starts else around

    def _refused(self, message: str, code: str, span: Span, hint: str | None = None) -> Refused:
        return Refused(Problem(message, code, "error", *span, hint))

    # ------------------------------------------------------------------------------------------------ literals

    def _literal(self, node: exp.Literal, span: Span) -> tree.Node:
        text = str(node.this)
        if node.is_string:
            if len(text) > Limits.LITERAL_CHARS:
                message = f"A text has at most {Limits.LITERAL_CHARS} characters."
                raise self._refused(message, Code.TOO_COMPLEX, span)
            return tree.Text(*span, text)
        if not _NUMBER.match(text):
            raise self._refused(f"{text!r} is not a number.", Code.SYNTAX, span)
        mantissa, _, exponent = text.lower().partition("e")
        if len(mantissa.replace(".", "").lstrip("0")) > Limits.NUMBER_DIGITS or len(exponent.lstrip("+-")) > 3:
            message = f"A number has at most {Limits.NUMBER_DIGITS} digits."
            raise self._refused(message, Code.TOO_COMPLEX, span)
        return tree.Number(*span, text)

    def _boolean(self, node: exp.Boolean, span: Span) -> tree.Node:
        return tree.Constant(*span, bool(node.this))

    def _null(self, node: exp.Null, span: Span) -> tree.Node:
        return tree.Constant(*span, None)

    def _interval(self, node: exp.Interval, span: Span) -> tree.Node:
        unit = str(node.args.get("unit") or "").lower().rstrip("s")
        if unit not in _UNITS:
            raise self._refused("INTERVAL needs one unit: year, month, week, day, hour, minute, second.",
                                Code.NOT_ALLOWED, span)  # fmt: skip
        amount = node.this
        if isinstance(amount, exp.Literal):
            text = str(amount.this)
            if not re.fullmatch(r"-?\d{1,9}", text):
                raise self._refused("INTERVAL needs a whole number.", Code.SYNTAX, span)
            return tree.IntervalOf(*span, tree.Number(*span, text), unit)
        return tree.IntervalOf(*span, self._node(amount, span), unit)

    def _array(self, node: exp.Array, span: Span) -> tree.Node:
        items = node.expressions
        if len(items) == 1 and isinstance(items[0], exp.Comprehension):
            return self._comprehension(items[0], span)
        self._bound(len(items), span)
        return tree.ListOf(*span, tuple(self._node(item, span) for item in items))

    def _struct(self, node: exp.Struct, span: Span) -> tree.Node:
        self._bound(len(node.expressions), span)
        names: list[str] = []
        values: list[tree.Node] = []
        for item in node.expressions:
            if not isinstance(item, exp.PropertyEQ):
                raise self._refused("A struct is written {'name': value}.", Code.SYNTAX, span)
            names.append(str(item.this.this))
            values.append(self._node(item.expression, span))
        lowered = [name.lower() for name in names]
        if not names or len(set(lowered)) != len(lowered):
            raise self._refused("A struct needs fields with different names.", Code.SYNTAX, span)
        return tree.StructOf(*span, tuple(names), tuple(values))

    def _bound(self, count: int, span: Span) -> None:
        if count > Limits.LIST_ITEMS:
            raise self._refused(f"A list has at most {Limits.LIST_ITEMS} elements.", Code.TOO_COMPLEX, span)

    # --------------------------------------------------------------------------------------------------- names

    def _column(self, node: exp.Column, span: Span) -> tree.Node:
        parts = [node.args.get(key) for key in ("catalog", "db", "table", "this")]
        present = [part for part in parts if part is not None]
        if not all(isinstance(part, exp.Identifier) for part in present):
            raise self._refused(_WHY[exp.Star], Code.NOT_ALLOWED, span)
        spans = tuple(self._span(part, span) for part in present)
        return tree.Name(*span, tuple(str(part.this) for part in present), spans)

    def _identifier(self, node: exp.Identifier, span: Span) -> tree.Node:
        return tree.Name(*span, (str(node.this),), (span,))

    def _dot(self, node: exp.Dot, span: Span) -> tree.Node:
        if not isinstance(node.expression, exp.Identifier):
            raise self._refused("After a dot comes the name of a field.", Code.NOT_ALLOWED, span,
                                "Write function(value) instead of value.function().")  # fmt: skip
        base = self._node(node.this, span)
        name = str(node.expression.this)
        if isinstance(base, tree.Name):
            return tree.Name(*span, (*base.parts, name), (*base.spans, self._span(node.expression, span)))
        return tree.Member(*span, base, name)

    def _bracket(self, node: exp.Bracket, span: Span) -> tree.Node:
        base = self._node(node.this, span)
        if len(node.expressions) != 1:
            raise self._refused("One position belongs between the brackets.", Code.SYNTAX, span)
        index = node.expressions[0]
        if isinstance(index, exp.Slice):
            if index.args.get("step") is not None:
                raise self._refused("A slice is written [from:to].", Code.NOT_ALLOWED, span)
            low, high = index.this, index.expression
            return tree.Slice(*span, base, low and self._node(low, span), high and self._node(high, span))
        return tree.Element(*span, base, self._node(index, span))

    # ----------------------------------------------------------------------------------------------- operators

    def _paren(self, node: exp.Paren, span: Span) -> tree.Node:
        return self._node(node.this, span)

    def _negative(self, node: exp.Neg, span: Span) -> tree.Node:
        operand = self._node(node.this, span)
        start = self.source.rfind("-", 0, operand.start) if operand.start else 0
        return tree.Unary(max(start, 0), operand.end, "-", operand)

    def _not(self, node: exp.Not, span: Span) -> tree.Node:
        return tree.Unary(*span, "NOT", self._node(node.this, span))

    def _is(self, node: exp.Is, span: Span) -> tree.Node:
        operand = self._node(node.this, span)
        if isinstance(node.expression, exp.Null):
            return tree.IsNull(*span, operand)
        if isinstance(node.expression, exp.Boolean):
            return tree.Binary(*span, "IS NOT DISTINCT FROM", operand, self._boolean(node.expression, span))
        raise self._refused("After IS comes NULL, TRUE or FALSE.", Code.SYNTAX, span)

    def _in(self, node: exp.In, span: Span) -> tree.Node:
        if node.args.get("query") or node.args.get("unnest"):
            raise self._refused(_WHY[exp.Subquery], Code.NOT_ALLOWED, span)
        if node.args.get("field") is not None or not node.expressions:
            raise self._refused("After IN comes a list in parentheses.", Code.SYNTAX, span,
                                "For a list column write list_contains(list, value).")  # fmt: skip
        self._bound(len(node.expressions), span)
        operand = self._node(node.this, span)
        return tree.InList(*span, operand, tuple(self._node(item, span) for item in node.expressions))

    def _between(self, node: exp.Between, span: Span) -> tree.Node:
        parts = (node.this, node.args["low"], node.args["high"])
        if node.args.get("symmetric"):
            raise self._refused("BETWEEN SYMMETRIC is not part of the language.", Code.NOT_ALLOWED, span)
        return tree.Between(*span, *(self._node(part, span) for part in parts))

    def _like(self, node: exp.Expr, span: Span, escape: str | None = None) -> tree.Node:
        name = "ILIKE" if isinstance(node, exp.ILike) else "LIKE"
        found = tree.Like(*span, name, self._node(node.this, span), self._node(node.expression, span), escape)
        return tree.Unary(*span, "NOT", found) if node.args.get("negate") else found

    def _escape(self, node: exp.Escape, span: Span) -> tree.Node:
        mark = node.expression
        if not (isinstance(mark, exp.Literal) and mark.is_string and len(str(mark.this)) == 1):
            raise self._refused("ESCAPE needs one character.", Code.SYNTAX, span)
        if not isinstance(node.this, exp.Like | exp.ILike):
            raise self._refused("ESCAPE belongs to LIKE.", Code.SYNTAX, span)
        return self._like(node.this, span, str(mark.this))

    def _case(self, node: exp.Case, span: Span) -> tree.Node:
        operand = node.this
        whens: list[tuple[tree.Node, tree.Node]] = []
        for branch in node.args["ifs"]:
            condition = self._node(branch.this, span)
            if operand is not None:
                subject = self._node(operand, span)
                condition = tree.Binary(condition.start, condition.end, "=", subject, condition)
            whens.append((condition, self._node(branch.args["true"], span)))
        default = node.args.get("default")
        return tree.Case(*span, tuple(whens), self._node(default, span) if default is not None else None)

    def _cast(self, node: exp.Cast, span: Span) -> tree.Node:
        if node.args.get("format") or node.args.get("action"):
            raise self._refused("CAST has no FORMAT; use strptime or strftime.", Code.NOT_ALLOWED, span)
        try:
            name = str(parse_type(node.to.sql(dialect="duckdb")))
        except (UnknownTypeName, ValueError):
            raise self._refused("This type is not part of the language.", Code.UNKNOWN_TYPE, span,
                                "DECIMAL(18,2), BIGINT, VARCHAR, DATE, TIMESTAMP, BOOLEAN, …") from None  # fmt: skip
        return tree.Cast(*span, self._node(node.this, span), name, isinstance(node, exp.TryCast))

    # ----------------------------------------------------------------------------------------------- functions

    def _call(self, node: exp.Anonymous, span: Span) -> tree.Node:
        name = str(node.this)
        function = find_function(name)
        if function is None:
            raise self._unknown_function(name, span)
        if function.name == "struct_pack":
            return self._struct(exp.Struct(expressions=node.expressions), span)
        args: list[tree.Node] = []
        for position, item in enumerate(node.expressions):
            args.append(self._argument(item, position in function.lambdas, span))
        return self._checked_call(function.name, args, span)

    def _argument(self, item: Any, may_be_lambda: bool, span: Span) -> tree.Node:
        if not isinstance(item, exp.Lambda):
            return self._node(item, span)
        if may_be_lambda:
            return self._lambda([str(param.this) for param in item.expressions], item.this, self._span(item, span))
        if len(item.expressions) == 1:  # inside of a call sqlglot takes `json -> 'path'` for a lambda
            left = self._identifier(item.expressions[0], self._span(item.expressions[0], span))
            return tree.Binary(*self._span(item, span), "->", left, self._node(item.this, span))
        raise self._refused("A lambda belongs to a list function.", Code.NOT_ALLOWED, span)

    def _lambda(self, params: list[str], body: Any, span: Span) -> tree.Lambda:
        if len(self.scopes) >= Limits.LAMBDA_DEPTH:
            message = f"Lambdas are nested at most {Limits.LAMBDA_DEPTH} deep."
            raise self._refused(message, Code.TOO_DEEP, span)
        self.scopes.append({param.lower() for param in params})
        found = tree.Lambda(*span, tuple(params), self._node(body, span))
        self.scopes.pop()
        return found

    def _comprehension(self, node: exp.Comprehension, span: Span) -> tree.Node:
        if node.args.get("position") is not None:
            raise self._refused("A list comprehension has one variable.", Code.NOT_ALLOWED, span)
        variable = [str(node.expression.this)]
        source = self._node(node.args["iterator"], span)
        condition = node.args.get("condition")
        if condition is not None:
            source = tree.Call(*span, "list_filter", (source, self._lambda(variable, condition, span)))
        return tree.Call(*span, "list_transform", (source, self._lambda(variable, node.this, span)))

    def _checked_call(self, name: str, args: list[tree.Node], span: Span) -> tree.Node:
        function = FUNCTIONS[name]
        call = tree.Call(*span, name, tuple(args))
        least, most = function.args
        if len(args) < least or (most is not None and len(args) > most):
            message = f"{name}() has the form {function.signature}."
            raise self._refused(message, Code.WRONG_ARGUMENTS, span)
        for position in function.lambdas:
            if not isinstance(args[position], tree.Lambda):
                message = f"{name}() has the form {function.signature}."
                raise self._refused(message, Code.WRONG_ARGUMENTS, span)
        objection = function.guard(call) if function.guard else None
        if objection:
            raise self._refused(objection, Code.WRONG_ARGUMENTS, span)
        return call

    def _unknown_function(self, name: str, span: Span) -> Refused:
        only_name = (span[0], min(span[0] + len(name), span[1]))
        if name.lower() in _AGGREGATES:
            hint = (
                f"For the elements of a list there is list_{name.lower()}()."
                if f"list_{name.lower()}" in FUNCTIONS
                else None
            )
            message = f"{name}() sums up many rows; an expression sees one row only."
            return self._refused(message, Code.UNKNOWN_FUNCTION, only_name, hint)
        near = suggest_function(name)
        hint = f"Did you mean {near}()?" if near else "The function list shows what there is."
        return self._refused(f"There is no function {name}().", Code.UNKNOWN_FUNCTION, only_name, hint)

    def _extract(self, node: exp.Extract, span: Span) -> tree.Node:
        part = str(node.this.this).lower()
        if part not in PARTS:
            raise self._refused(f"EXTRACT knows {', '.join(PARTS)}.", Code.WRONG_ARGUMENTS, span)
        return self._checked_call("date_part", [tree.Text(*span, part), self._node(node.expression, span)], span)

    def _at_time_zone(self, node: exp.AtTimeZone, span: Span) -> tree.Node:
        return self._checked_call("timezone", [self._node(node.args["zone"], span), self._node(node.this, span)], span)

    def _trim(self, node: exp.Trim, span: Span) -> tree.Node:
        name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or ""), "trim")
        if node.args.get("collation"):
            raise self._refused("COLLATE is not part of the language.", Code.NOT_ALLOWED, span)
        parts = [node.this, *([node.expression] if node.args.get("expression") is not None else [])]
        return self._checked_call(name, [self._node(part, span) for part in parts], span)

    def _substring(self, node: exp.Substring, span: Span) -> tree.Node:
        parts = [node.this, node.args.get("start"), node.args.get("length")]
        return self._checked_call("substring", [self._node(part, span) for part in parts if part is not None], span)

    def _position(self, node: exp.StrPosition, span: Span) -> tree.Node:
        if node.args.get("position") is not None:
            raise self._refused("position() has the form position(part IN text).", Code.WRONG_ARGUMENTS, span)
        args = [self._node(node.args["substr"], span), self._node(node.this, span)]
        return self._checked_call("position", args, span)

    def _current_date(self, node: exp.CurrentDate, span: Span) -> tree.Node:
        return self._checked_call("current_date", [], span)

    def _now(self, node: exp.CurrentTimestamp, span: Span) -> tree.Node:
        return self._checked_call("now", [], span)


_RULES: dict[type[exp.Expr], Callable[[TreeBuilder, Any, Span], tree.Node]] = {
    exp.Literal: TreeBuilder._literal, exp.Boolean: TreeBuilder._boolean, exp.Null: TreeBuilder._null,
    exp.Interval: TreeBuilder._interval, exp.Array: TreeBuilder._array, exp.Struct: TreeBuilder._struct,
    exp.Column: TreeBuilder._column, exp.Identifier: TreeBuilder._identifier, exp.Dot: TreeBuilder._dot,
    exp.Bracket: TreeBuilder._bracket, exp.Paren: TreeBuilder._paren, exp.Neg: TreeBuilder._negative,
    exp.Not: TreeBuilder._not, exp.Is: TreeBuilder._is, exp.In: TreeBuilder._in, exp.Between: TreeBuilder._between,
    exp.Like: TreeBuilder._like, exp.ILike: TreeBuilder._like, exp.Escape: TreeBuilder._escape,
    exp.Case: TreeBuilder._case, exp.Cast: TreeBuilder._cast, exp.TryCast: TreeBuilder._cast,
    exp.Anonymous: TreeBuilder._call, exp.Extract: TreeBuilder._extract, exp.AtTimeZone: TreeBuilder._at_time_zone,
    exp.Trim: TreeBuilder._trim, exp.Substring: TreeBuilder._substring, exp.StrPosition: TreeBuilder._position,
    exp.CurrentDate: TreeBuilder._current_date, exp.CurrentTimestamp: TreeBuilder._now,
}  # fmt: skip


def _shown(kind: str) -> str:
    """`RegexpLike` -> `Regexp like`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).capitalize()
