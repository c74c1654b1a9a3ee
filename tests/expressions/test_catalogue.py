"""Every function's example is true, here and, where it can be pushed down, in PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.db import connection

from apps.expressions.catalogue import ALIASES, FUNCTIONS, find_function, list_functions
from apps.expressions.catalogue.model import Function
from apps.expressions.contracts import Schema
from apps.expressions.exceptions import NotPushable
from apps.expressions.services.checking import check_expression
from apps.expressions.services.evaluation import evaluate
from apps.expressions.services.transpiling import transpile
from apps.expressions.services.values import to_display

EVERY = pytest.mark.parametrize("function", list_functions(), ids=lambda function: function.name)
PUSHABLE = [function for function in list_functions() if function.postgres is not None]


@EVERY
def test_example_gives_its_result(function: Function) -> None:
    assert to_display(evaluate(function.example, {})) == function.result


@EVERY
def test_example_checks_without_errors(function: Function) -> None:
    assert check_expression(function.example, Schema(())).ok


@EVERY
def test_entry_is_complete(function: Function) -> None:
    # The example shows the function itself: under its name, or in the special form its signature or description names.
    special = {"position", "date_part", "timezone"}
    assert function.name in special or re.search(rf"\b{function.name}\b", function.example)
    assert function.signature.startswith(function.name)
    assert function.description.endswith(".")
    assert function.args[1] is None or function.args[0] <= function.args[1]


@pytest.mark.django_db
@pytest.mark.parametrize("function", PUSHABLE, ids=lambda function: function.name)
def test_example_gives_the_same_in_postgresql(function: Function) -> None:
    try:
        pushed = transpile(function.example, Schema(()))
    except NotPushable as refused:
        pytest.skip(f"not pushable with these types: {refused.message}")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {pushed.sql}")
        found = cursor.fetchone()[0]
    assert found == evaluate(function.example, {})


def test_most_pushable_examples_are_pushed() -> None:
    pushed = 0
    for function in PUSHABLE:
        try:
            transpile(function.example, Schema(()))
        except NotPushable:
            continue
        pushed += 1
    assert pushed >= 45


def test_aliases_lead_to_functions_and_hide_none() -> None:
    assert all(name in FUNCTIONS for name in ALIASES.values())
    assert not set(ALIASES) & set(FUNCTIONS)
    assert find_function("LEN") is FUNCTIONS["len"]


def test_readme_tells_how_to_add_a_function() -> None:
    text = Path("apps/expressions/README.md").read_text()
    assert "To add another function" in text
