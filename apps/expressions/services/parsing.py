"""From text to the language's own tree: bounds first, then sqlglot, then the allow-list. No schema needed."""

from __future__ import annotations

import functools
import sys

from sqlglot import exp

from apps.expressions.choices import Code, Limits
from apps.expressions.contracts import Problem
from apps.expressions.services.building import Refused, TreeBuilder
from apps.expressions.services.grammar import ParseError, Token, TokenError, TokenType, parse_tokens, tokenize
from apps.expressions.services.growth import find_growth_problem
from apps.expressions.tree import Node

# sqlglot recurses about 25 frames for each level of brackets, and a request already stands on a hundred. Frames of pure
# Python live on the heap since 3.11, so that a higher limit costs nothing; `Limits.DEPTH` is what really bounds us.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 6_000))
_OPEN = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSE = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
_TOKENS = Limits.NODES * 4


class ParseRefused(Exception):
    """The text is not an expression of the language; carries the finding."""

    def __init__(self, problem: Problem) -> None:
        """Keep the finding."""
        self.problem = problem
        super().__init__(problem.message)


def parse_expression(source: str) -> Node:
    """Parse one scalar expression.

    Args:
        source: at most 2,000 characters.

    Returns:
        The tree; every node is allowed, every function is in the catalogue. Columns and types are not checked.

    Raises:
        ParseRefused: with the one finding and its place.
    """
    try:
        return _parse(source)
    except Refused as refused:
        raise ParseRefused(refused.problem) from None


@functools.lru_cache(maxsize=2_048)
def _parse(source: str) -> Node:
    if len(source) > Limits.SOURCE_CHARS:
        message = f"The expression has {len(source):,} characters; the limit is {Limits.SOURCE_CHARS:,}."
        raise _refusal(message, Code.TOO_LONG, Limits.SOURCE_CHARS, len(source), "Move parts into fields of their own.")
    if not source.strip():
        raise _refusal("The expression is empty.", Code.EMPTY, 0, len(source), "Write a column name, for example.")
    bad = next((i for i, char in enumerate(source) if not (char.isprintable() or char in "\n\r\t ")), None)
    if bad is not None:
        name = f"U+{ord(source[bad]):04X}"
        raise _refusal(f"The character {name} is not allowed.", Code.SYNTAX, bad, bad + 1, "Remove it.")
    tokens = _tokens(source)
    try:
        statements = parse_tokens(tokens, source)
    except ParseError as error:
        raise _syntax(error, tokens, source) from None
    except RecursionError:
        raise _refusal("The expression is nested too deeply.", Code.TOO_DEEP, 0, len(source)) from None
    except Exception as error:
        raise _refusal("This is not an expression.", Code.SYNTAX, 0, len(source)) from error
    if len(statements) != 1 or statements[0] is None:
        raise _refusal("Write exactly one expression.", Code.SYNTAX, 0, len(source))
    return _build(statements[0], tokens, source)


def _build(statement: exp.Expr, tokens: list[Token], source: str) -> Node:
    nodes = sum(1 for _ in statement.walk())
    if nodes > Limits.NODES * 3:
        raise _too_complex(nodes, source)
    tree = TreeBuilder(source, tokens).build(statement)
    count = sum(1 for _ in tree.walk())
    if count > Limits.NODES:
        raise _too_complex(count, source)
    grown = find_growth_problem(tree)
    if grown is not None:
        raise Refused(grown)
    if _depth(tree) > Limits.DEPTH * 4:
        raise _refusal("The expression is nested too deeply.", Code.TOO_DEEP, 0, len(source))
    return tree


def _depth(node: Node) -> int:
    deepest, stack = 0, [(node, 1)]
    while stack:
        current, depth = stack.pop()
        deepest = max(deepest, depth)
        stack.extend((child, depth + 1) for child in current.children())
    return deepest


def _tokens(source: str) -> list[Token]:
    try:
        tokens = tokenize(source)
    except TokenError:
        start = _open_quote(source)
        raise _refusal("A quote or comment is opened and not closed.", Code.SYNTAX, start, len(source)) from None
    if not tokens:
        raise _refusal("The expression is empty.", Code.EMPTY, 0, len(source))
    if len(tokens) > _TOKENS:
        raise _too_complex(len(tokens), source)
    depth = 0
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            raise _refusal("Write one expression, without a semicolon.", Code.SYNTAX, token.start, token.end + 1)
        depth += (token.token_type in _OPEN) - (token.token_type in _CLOSE)
        if depth > Limits.DEPTH:
            message = f"Brackets are nested more than {Limits.DEPTH} deep."
            raise _refusal(message, Code.TOO_DEEP, token.start, token.end + 1)
    return tokens


def _open_quote(source: str) -> int:
    """Where the quote that is never closed opens (an odd one out), for the message."""
    for quote in ("'", '"'):
        if source.count(quote) % 2:
            return source.rindex(quote)
    return max(source.find("/*"), source.find("$"), 0)


def _syntax(error: ParseError, tokens: list[Token], source: str) -> Refused:
    facts = error.errors[0] if error.errors else {}
    line, column = facts.get("line"), facts.get("col")
    token = next((t for t in tokens if t.line == line and t.col == column), None)
    start, end = (token.start, token.end + 1) if token else (0, len(source))
    description = str(facts.get("description") or "")
    if "Expecting" in description or "Expected ]" in description:
        wanted = description.rsplit(maxsplit=1)[-1]
        return _refusal(f"A {wanted!r} is missing here.", Code.SYNTAX, start, end)
    if "Expected TYPE" in description:
        return _refusal("The name of a type is missing or wrong here.", Code.UNKNOWN_TYPE, start, end)
    if "missing for" in description:
        return _refusal("Something is missing after this.", Code.SYNTAX, start, end)
    shown = source[start:end]
    return _refusal(f"{shown!r} does not belong here.", Code.SYNTAX, start, end)


def _too_complex(count: int, source: str) -> Refused:
    message = f"The expression has {count:,} parts; the limit is {Limits.NODES}."
    return _refusal(message, Code.TOO_COMPLEX, 0, len(source), "Move parts into fields of their own.")


def _refusal(message: str, code: str, start: int, end: int, hint: str | None = None) -> Refused:
    return Refused(Problem(message, code, "error", start, end, hint))
