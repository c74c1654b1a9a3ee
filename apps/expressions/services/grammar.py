"""sqlglot's DuckDB grammar with every function left anonymous, so that the name a person wrote decides.

The stock dialect turns `lpad`, `len`, `datediff` … into its own nodes, shifts list positions and rewrites JSON paths;
all of that is convenient for transpiling whole statements and in the way of an allow-list by name.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ErrorLevel, ParseError, TokenError
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token, TokenType

_KEPT = ("CAST", "TRY_CAST", "EXTRACT", "TRIM", "POSITION", "SUBSTRING")


class ExpressionDialect(DuckDB):
    """DuckDB's grammar for scalar expressions."""

    INDEX_OFFSET = 0

    def to_json_path(self, path: Any) -> Any:
        """Leave paths as written."""
        return path

    class Parser(DuckDBParser):
        """Functions by name only."""

        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: parser for name, parser in DuckDBParser.FUNCTION_PARSERS.items() if name in _KEPT
        }
        NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: parser for name, parser in DuckDBParser.NO_PAREN_FUNCTION_PARSERS.items() if name in ("CASE", "MAP")
        }


_DIALECT = ExpressionDialect()


def tokenize(source: str) -> list[Token]:
    """Tokens with `start` and `end` (inclusive) offsets.

    Raises:
        TokenError: an unclosed quote or an unknown character.
    """
    return _DIALECT.tokenize(source)


def parse_tokens(tokens: list[Token], source: str) -> list[exp.Expr | None]:
    """The statements in the tokens.

    Raises:
        ParseError: not an expression.
    """
    return list(_DIALECT.parser(error_level=ErrorLevel.IMMEDIATE).parse(tokens, source))


def closing_brackets(tokens: list[Token]) -> dict[int, int]:
    """Offset of each "(" -> offset after its ")"; whitespace between name and bracket is looked through."""
    found: dict[int, int] = {}
    stack: list[tuple[int, int]] = []
    for position, token in enumerate(tokens):
        if token.token_type == TokenType.L_PAREN:
            before = tokens[position - 1].end + 1 if position else token.start
            stack.append((before, token.start))
        elif token.token_type == TokenType.R_PAREN and stack:
            before, start = stack.pop()
            found[before] = found[start] = token.end + 1
    return found


__all__ = [
    "ExpressionDialect",
    "ParseError",
    "Token",
    "TokenError",
    "TokenType",
    "closing_brackets",
    "parse_tokens",
    "tokenize",
]
