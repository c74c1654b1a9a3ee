"""The designer's three questions over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.expressions.catalogue import FUNCTIONS

SCHEMA = [{"name": "total", "type": "decimal(18, 2)"}, {"name": "name", "type": "VARCHAR", "nullable": False}]
CHECK, EVALUATE, LIST = (f"/api/v2/expressions/{verb}" for verb in ("check", "evaluate", "functions"))


@pytest.fixture
def api(acme: Any, api_for: Callable[..., Any]) -> Any:
    """A client that may use expressions and nothing else."""
    return api_for(acme, permissions=("expression:use",))


def test_check_answers_type_and_lineage(api: Any) -> None:
    body = {"expression": "total * 2", "schema": SCHEMA, "target_type": "DECIMAL(18,4)"}
    answer = api.post(CHECK, body, format="json")
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True, "type": "DECIMAL(18,2)", "nullable": True, "columns": ["total"],
        "problems": [{
            "message": answer.json()["problems"][0]["message"], "code": "expressions.lossy", "severity": "warning",
            "start": 0, "end": 9, "hint": answer.json()["problems"][0]["hint"],
        }],
    }  # fmt: skip


def test_check_points_at_the_character(api: Any) -> None:
    answer = api.post(CHECK, {"expression": "upper(nam)", "schema": SCHEMA}, format="json").json()
    assert not answer["ok"]
    assert answer["type"] is None
    problem = answer["problems"][0]
    assert (problem["code"], problem["start"], problem["end"]) == ("expressions.unknown_column", 6, 9)
    assert problem["hint"] == "Did you mean name?"


def test_check_knows_mapped_targets(api: Any) -> None:
    body = {"expression": "mapped.net > 0", "schema": SCHEMA, "mapped": [{"name": "net", "type": "DECIMAL(18,2)"}]}
    assert api.post(CHECK, body, format="json").json()["columns"] == ["mapped.net"]


def test_evaluate_gives_exact_values_and_row_errors(api: Any) -> None:
    body = {
        "expressions": [
            {"name": "double", "expression": "total * 2"},
            {"name": "number", "expression": "cast(name as int)"},
        ],
        "schema": SCHEMA,
        "rows": [{"total": "1.10", "name": "7"}, {"total": None, "name": "x"}],
    }
    answer = api.post(EVALUATE, body, format="json")
    assert answer.status_code == 200
    first, second = answer.json()["rows"]
    assert first == {"values": {"double": "2.20", "number": 7}, "errors": []}
    assert second["values"] == {"double": None, "number": None}
    assert second["errors"] == [
        {"name": "number", "code": "expressions.row.conversion", "message": "number cannot be converted."}
    ]


def test_evaluate_refuses_an_invalid_expression_as_a_problem(api: Any) -> None:
    body = {"expressions": [{"name": "bad", "expression": "foo"}], "schema": SCHEMA, "rows": [{}]}
    answer = api.post(EVALUATE, body, format="json")
    assert answer.status_code == 422
    assert answer.json()["code"] == "expressions.invalid"
    assert answer.json()["problems"][0]["path"] == "bad"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHECK, {}),
        (CHECK, {"expression": "1", "schema": [{"name": "a", "type": "NOPE"}]}),
        (CHECK, {"expression": "x" * 5_000, "schema": []}),
        (CHECK, {"expression": "1", "schema": [{"name": f"c{i}", "type": "BIGINT"} for i in range(2_001)]}),
        (EVALUATE, {"expressions": [{"name": "a", "expression": "1"}], "schema": [], "rows": [{}] * 101}),
        (EVALUATE, {"expressions": [], "schema": [], "rows": []}),
        (EVALUATE, {"expressions": [{"name": "a", "expression": "1"}] * 2, "schema": [], "rows": []}),
        (EVALUATE, {"expressions": [{"name": "a", "expression": "1"}], "schema": [], "rows": [1]}),
    ],
)
def test_sizes_and_shapes_are_checked(api: Any, path: str, body: dict[str, Any]) -> None:
    answer = api.post(path, body, format="json")
    assert answer.status_code in {400, 422}
    assert answer.json()["code"]


def test_hostile_expression_over_http(api: Any) -> None:
    answer = api.post(CHECK, {"expression": "read_text('/etc/passwd')", "schema": []}, format="json")
    assert answer.status_code == 200
    assert not answer.json()["ok"]


def test_function_list_is_complete(api: Any) -> None:
    results = api.get(LIST).json()["results"]
    assert {item["name"] for item in results} == set(FUNCTIONS)
    assert all(item.keys() == {"name", "category", "signature", "description", "example", "result"} for item in results)


@pytest.mark.parametrize(("method", "path"), [("post", CHECK), ("post", EVALUATE), ("get", LIST)])
def test_permission_is_needed(method: str, path: str, acme: Any, api_for: Callable[..., Any]) -> None:
    stranger = api_for(acme, permissions=("flow:view",))
    assert getattr(stranger, method)(path, {}, format="json").status_code == 403


def test_another_tenants_login_is_no_login(acme: Any, globex: Any, api_for: Callable[..., Any]) -> None:
    client = api_for(acme, permissions=("expression:use",))
    answer = client.get(LIST, HTTP_HOST="globex.localhost", headers={"host": "globex.localhost"})
    assert answer.status_code in {401, 403}
