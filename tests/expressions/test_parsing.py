"""What is an expression, and where a mistake is."""

from __future__ import annotations

import pytest

from apps.expressions.choices import Code
from apps.expressions.services.parsing import ParseRefused, parse_expression
from apps.expressions.tree import Binary, Call, Cast, Name


def refusal(source: str) -> tuple[str, str]:
    """Code and the marked part of the source."""
    with pytest.raises(ParseRefused) as caught:
        parse_expression(source)
    problem = caught.value.problem
    assert 0 <= problem.start <= problem.end <= len(source)
    return problem.code, source[problem.start : problem.end]


@pytest.mark.parametrize(
    ("source", "code", "marked"),
    [
        ("", Code.EMPTY, ""),
        ("   ", Code.EMPTY, "   "),
        ("total +", Code.SYNTAX, "+"),
        ("total 5", Code.SYNTAX, "5"),
        ("upper(name", Code.SYNTAX, "name"),
        ("[1, 2", Code.SYNTAX, "2"),
        ("name)", Code.SYNTAX, ")"),
        ("'open", Code.SYNTAX, "'open"),
        ("uper(name)", Code.UNKNOWN_FUNCTION, "uper"),
        ("1 + sum(total)", Code.UNKNOWN_FUNCTION, "sum"),
        ("lpad(a, 100000, 'x')", Code.WRONG_ARGUMENTS, "lpad(a, 100000, 'x')"),
        ("upper()", Code.WRONG_ARGUMENTS, "upper()"),
        ("a; b", Code.SYNTAX, ";"),
        ("cast(a as nothing)", Code.UNKNOWN_TYPE, "a"),
        ("cast(a as decimal(39, 2))", Code.UNKNOWN_TYPE, "a as decimal(39, 2"),
        ("a\x00b", Code.SYNTAX, "\x00"),
        ("1e", Code.SYNTAX, "1e"),
    ],
)
def test_refusal_points_at_the_place(source: str, code: str, marked: str) -> None:
    found_code, found = refusal(source)
    assert found_code == code
    assert marked.startswith(found) or found.startswith(marked)


def test_unknown_function_comes_with_a_hint() -> None:
    with pytest.raises(ParseRefused) as caught:
        parse_expression("lenght(name)")
    assert caught.value.problem.hint == "Did you mean length()?"


def test_offsets_cover_calls_and_names() -> None:
    source = '  upper( "my name" ) || x.y'
    tree = parse_expression(source)
    assert isinstance(tree, Binary)
    assert isinstance(tree.left, Call)
    assert source[tree.left.start : tree.left.end] == 'upper( "my name" )'
    assert isinstance(tree.right, Name)
    assert [source[s:e] for s, e in tree.right.spans] == ["x", "y"]


def test_types_are_spelled_one_way() -> None:
    tree = parse_expression("a::numeric(18, 2)")
    assert isinstance(tree, Cast)
    assert tree.type == "DECIMAL(18,2)"


@pytest.mark.parametrize("depth", [10, 59])
def test_brackets_nest_to_the_limit(depth: int) -> None:
    assert parse_expression("(" * depth + "1" + ")" * depth)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("(" * 61 + "1" + ")" * 61, Code.TOO_DEEP),
        ("1" + " + 1" * 400, Code.TOO_COMPLEX),
        ("a" * 2_001, Code.TOO_LONG),
        ("[" + ",".join("1" * 101) + "]", Code.TOO_COMPLEX),
        ("'" + "x" * 1_001 + "'", Code.TOO_COMPLEX),
        ("1" * 39, Code.TOO_COMPLEX),
        ("[[[x for x in a] for y in b] for z in c]", Code.TOO_DEEP),
    ],
)
def test_sizes_are_bounded(source: str, code: str) -> None:
    assert refusal(source)[0] == code


def test_comments_are_ignored() -> None:
    assert isinstance(parse_expression("a /* why */ + b -- because"), Binary)
