"""Decision tables: hit policies at run time, gaps and overlaps when a definition is checked."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from apps.engine.choices import RunStatus
from apps.integrations.process_contracts import ProcessDefinition
from apps.integrations.services.validation import validate_definition
from apps.tenancy.models import Tenant
from tests.engine.process_factories import process, run, step, value

AMOUNT = {"name": "amount", "expression": "input.amount", "domain": {"type": "number", "min": 0, "max": 1000}}
REGION = {"name": "region", "expression": "input.region", "domain": {"type": "enum", "values": ["eu", "us"]}}


def rule(name: str, rate: str, priority: int = 0, **when: str) -> dict[str, Any]:
    return {"name": name, "when": when, "then": {"rate": rate}, "priority": priority}


def table(*rules: dict[str, Any], inputs: Any = (AMOUNT,), **config: Any) -> dict[str, Any]:
    given = {"inputs": list(inputs), "outputs": ["rate"], "rules": list(rules), **config}
    return process(step("fee", "decide", config=given), value("after"), output={"fee": "steps.fee.output"})


def findings(definition: Any) -> list[tuple[str, str, str]]:
    return [(one.path, one.code.removeprefix("integrations."), one.message)
            for one in validate_definition(definition).problems]  # fmt: skip


SMALL, LARGE = rule("small", "1", amount="amount < 100"), rule("large", "given.amount / 100", amount="amount >= 100")
WIDE = rule("wide", "3", amount="amount >= 50")


@pytest.mark.usefixtures("as_acme")
@pytest.mark.parametrize(
    ("hit", "rules", "amount", "expected"),
    [
        ("unique", [SMALL, LARGE], 99.99, {"rule": "small", "rate": 1}),
        ("unique", [SMALL, LARGE], 250, {"rule": "large", "rate": 2.5}),
        ("first", [SMALL, WIDE], 70, {"rule": "small", "rate": 1}),
        ("first", [WIDE, SMALL], 70, {"rule": "wide", "rate": 3}),
        ("priority", [SMALL, {**WIDE, "priority": 9}], 70, {"rule": "wide", "rate": 3}),
        (
            "collect",
            [SMALL, WIDE],
            70,
            {"rules": ["small", "wide"], "results": [{"rate": 1}, {"rate": 3}], "count": 2},
        ),
        ("collect", [WIDE], 10, {"rules": [], "results": [], "count": 0}),
    ],
    ids=["unique-low", "unique-high", "first", "first-order", "priority", "collect", "collect-none"],
)
def test_hit_policy_decides(hit: str, rules: Any, amount: Any, expected: Any) -> None:
    done = run(table(*rules, hit=hit), {"amount": amount})
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert done.result == {"fee": expected}


@pytest.mark.usefixtures("as_acme")
@pytest.mark.parametrize(
    ("config", "rules", "parameters", "code", "named"),
    [
        ({}, [SMALL, WIDE], {"amount": 70}, "decision_ambiguous", "small, wide"),
        ({"hit": "priority"}, [SMALL, WIDE], {"amount": 70}, "decision_ambiguous", "small, wide"),
        ({}, [SMALL], {"amount": 170}, "decision_open", "amount = 170"),
        ({}, [SMALL], {"amount": 1001}, "decision_input_outside", "amount = 1001"),
        ({}, [SMALL], {"amount": None}, "decision_input_outside", "amount = None"),
        ({}, [SMALL], {"amount": "10"}, None, ""),
        ({}, [SMALL], {"amount": "ten"}, "decision_input_outside", "'ten'"),
    ],
    ids=["unique", "tie", "open", "outside", "null", "text-number", "text"],
)
def test_table_never_guesses(config: Any, rules: Any, parameters: Any, code: str | None, named: str) -> None:
    done = run(table(*rules, **config), parameters)
    if code is None:
        assert done.status == RunStatus.SUCCEEDED, done.error
        return
    assert done.status == RunStatus.FAILED
    assert done.error["code"] == f"engine.process.{code}"
    assert named in done.error["message"]


@pytest.mark.usefixtures("as_acme")
def test_otherwise_answers_and_an_error_can_be_routed() -> None:
    done = run(table(SMALL, otherwise={"rate": "0"}), {"amount": 500})
    assert done.result == {"fee": {"rule": None, "rate": 0}}
    failing = table(SMALL)
    failing["steps"][0].update(on_error="route", error_steps=[value("ask")])
    failing["output"] = {"code": "steps.fee.error.code"}
    assert run(failing, {"amount": 500}).result == {"code": "engine.process.decision_open"}


@pytest.mark.usefixtures("as_acme")
def test_condition_on_a_decimal_is_exact() -> None:
    rules = [rule("low", "1", amount="amount < 0.3"), rule("high", "2", amount="amount >= 0.3")]
    definition = table(*rules)
    definition["steps"][0]["config"]["inputs"][0] = {**AMOUNT, "expression": "input.a + input.b"}
    assert run(definition, {"a": 0.1, "b": 0.2}).result == {"fee": {"rule": "high", "rate": 2}}


@pytest.mark.usefixtures("as_acme")
def test_complete_table_has_no_findings() -> None:
    assert findings(table(SMALL, LARGE)) == []
    day = {"name": "day", "expression": "input.day", "domain": {"type": "date", "min": "2026-01-01"}}
    rules = [rule("old", "1", day="day <= DATE '2026-06-30'"), rule("new", "2", day="day >= DATE '2026-07-01'")]
    assert findings(table(*rules, inputs=[day])) == [], "no day lies between the two"
    count = {"name": "n", "expression": "input.n", "domain": {"type": "integer", "nullable": True}}
    rules = [rule("few", "1", n="n <= 2"), rule("many", "2", n="n >= 3"), rule("none", "3", n="n is null")]
    assert findings(table(*rules, inputs=[count])) == []


@pytest.mark.usefixtures("as_acme")
@pytest.mark.parametrize(
    ("rules", "config", "expected", "said"),
    [
        ([SMALL, rule("big", "2", amount="amount > 100")], {}, "decision_gap", "amount = 100"),
        ([SMALL, rule("big", "2", amount="amount between 200 and 1000")], {}, "decision_gap", "100 <= amount < 200"),
        ([SMALL, WIDE], {}, "decision_overlap", "'small' and 'wide' both apply where 50 <= amount < 100"),
        ([SMALL, LARGE, WIDE], {"hit": "priority"}, "decision_tie", "'small' and 'wide' have the same priority"),
        ([WIDE, LARGE, SMALL], {"hit": "first"}, "decision_rule_hidden", "'large' never answers"),
        ([SMALL, LARGE, rule("never", "1", amount="amount > 5000")], {}, "decision_rule_dead", "'never'"),
        ([rule("odd", "1", amount="amount % 2 = 1")], {}, "decision_unchecked", "'amount'"),
        ([rule("sum", "1", amount="amount + 1")], {"hit": "collect"}, "decision_unchecked", "'amount'"),
        ([rule("bad", "1", amount="amount > input.x")], {}, "decision_cell_name", "'input'"),
        ([rule("bad", "1", other="other > 1")], {}, "decision_input_unknown", "'other'"),
        ([rule("bad", "1", amount="amount = 'x'")], {}, "decision_unchecked", "amount"),
        ([rule("bad", "1", amount="amount")], {}, "decision_cell", "true or false"),
        ([{**SMALL, "then": {}}, LARGE], {}, "output_missing", "'rate'"),
        ([{**SMALL, "then": {"rate": "1", "more": "2"}}, LARGE], {}, "output_unknown", "'more'"),
        ([SMALL, {**LARGE, "name": "small"}], {}, "name_twice", "'small'"),
        ([SMALL, LARGE], {"hit": "collect", "otherwise": {"rate": "1"}}, "otherwise_unused", "empty list"),
        ([SMALL, {**LARGE, "then": {"rate": "steps.after.output.x"}}], {}, "step_not_before", "'after'"),
    ],
    ids=[
        "gap-point", "gap-range", "overlap", "tie", "hidden", "dead", "modulo", "sum", "foreign-name", "unknown-input",
        "wrong-type", "no-boolean", "missing", "unknown", "twice", "otherwise", "later-step",
    ],
)  # fmt: skip
def test_definition_check_names_the_rules(rules: Any, config: Any, expected: str, said: str) -> None:
    found = findings(table(*copy.deepcopy(rules), **config))
    assert [one for one in found if one[1] == expected and said in one[2]], found
    assert all(one[0].startswith("steps[0].config") for one in found)


@pytest.mark.usefixtures("as_acme")
def test_gaps_are_found_across_inputs() -> None:
    rules = [
        rule("eu", "1", region="region = 'eu'"),
        rule("us_small", "2", region="region = 'us'", amount="amount <= 10"),
    ]
    (found,) = findings(table(*rules, inputs=[AMOUNT, REGION]))
    assert found[:2] == ("steps[0].config.rules", "decision_gap")
    assert "10 < amount <= 1000, region = 'us'" in found[2]
    assert "'us_small'" in found[2]
    without = {name: item for name, item in REGION.items() if name != "domain"}
    (found,) = findings(table(*rules, inputs=[AMOUNT, without]))
    assert (found[1], "region" in found[2]) == ("decision_unchecked", True)


def test_definition_with_a_table_survives_its_json() -> None:
    parsed = ProcessDefinition.from_json(table(SMALL, {"name": "large", "then": {"rate": "1"}}))
    assert ProcessDefinition.from_json(parsed.to_json()) == parsed
    assert parsed.steps[0].config["rules"][1] == {"name": "large", "then": {"rate": "1"}, "when": {}, "priority": 0}


def test_table_with_an_overlap_is_not_published(acme: Tenant, api_for: Callable[..., Any]) -> None:
    api = api_for(acme)
    made = api.post("/api/v2/flows", {"name": "Fees", "kind": "process", "draft": table(SMALL, WIDE)}, format="json")
    assert made.status_code == 201, made.content
    refused = api.post(f"/api/v2/flows/{made.json()['id']}/publish", {"note": "first"}, format="json")
    assert refused.status_code == 422, refused.content
    assert "integrations.decision_overlap" in [one["code"] for one in refused.json()["problems"]]
    schema = api.get("/api/v2/schemas/process-1.json").json()
    assert set(schema["$defs"]["decide"]["properties"]["hit"]["enum"]) == {"unique", "first", "collect", "priority"}
