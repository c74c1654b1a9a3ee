"""Process definitions: shape, references, publishing, identity."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apps.access.contracts import Actor
from apps.integrations.exceptions import DefinitionInvalid
from apps.integrations.process_contracts import ProcessDefinition
from apps.integrations.services.canonical import content_hash
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.flows import create_flow, publish_flow, update_draft
from apps.integrations.services.validation import validate_definition
from apps.tenancy.models import Tenant
from tests.engine.process_factories import process, step, value

SYSTEM = Actor.system("tests")
API = "/api/v2"


def problems(definition: Any) -> dict[str, str]:
    return {problem.path: problem.code for problem in validate_definition(definition).problems}


NESTED = process(
    value("first", n="input.n"),
    step(
        "check",
        "branch",
        config={
            "cases": [{"name": "large", "when": "steps.first.output.n > 1", "steps": [value("post", n="1")]}],
            "default": [step("stop", "raise", config={"message": "'no'"})],
        },
        on_error="route",
        error_steps=[value("tell", text="error.message")],
    ),
    step("loop", "foreach", config={"items": "[1, 2]", "steps": [value("each", n="item + index")]}),
    step(
        "rounds",
        "while",
        config={
            "state": {"i": "0"},
            "condition": "state.i < 3",
            "steps": [value("inner", n="state.i")],
            "next": {"i": "steps.inner.output.n + 1"},
        },
    ),
    output={"n": "steps.first.output.n"},
    variables={"region": "eu"},
)


def test_definition_survives_its_json() -> None:
    parsed = ProcessDefinition.from_json(NESTED)
    assert ProcessDefinition.from_json(parsed.to_json()) == parsed
    assert parsed.to_json() == ProcessDefinition.from_json(parsed.to_json()).to_json()
    assert list(parsed.by_id) == ["first", "check", "post", "stop", "tell", "loop", "each", "rounds", "inner"]


def test_hash_ignores_names_and_follows_behaviour() -> None:
    named, other = copy.deepcopy(NESTED), copy.deepcopy(NESTED)
    named["steps"][0]["name"] = "The first"
    named["steps"][1]["config"]["cases"][0]["steps"][0]["notes"] = "see there"
    other["steps"][1]["config"]["cases"][0]["steps"][0]["config"]["values"]["n"] = "2"
    base, same, changed = (content_hash(ProcessDefinition.from_json(one)) for one in (NESTED, named, other))
    assert base == same
    assert base != changed


def test_right_process_has_no_problems(as_acme: Tenant) -> None:
    assert problems(NESTED) == {}


@pytest.mark.parametrize(
    ("definition", "path", "code"),
    [
        (process(value("a"), value("a")), "steps[1].id", "integrations.step_twice"),
        (process(value("a", n="1 +")), "steps[0].config.values.n", "expressions.syntax"),
        (
            process(value("a", n="steps.b.output.n"), value("b")),
            "steps[0].config.values.n",
            "integrations.step_not_before",
        ),
        (process(value("a", n="item")), "steps[0].config.values.n", "integrations.name_unknown"),
        (process(value("a", n="var.x")), "steps[0].config.values.n", "integrations.variable_unknown"),
        (
            process(value("a", n="input.y"), input=[{"name": "x", "type": "BIGINT"}]),
            "steps[0].config.values.n",
            "integrations.input_unknown",
        ),
        (process(value("a"), input=[{"name": "x", "type": "NONSENSE"}]), "input[0].type", "integrations.type_unknown"),
        (process(value("a", {"on_error": "route"})), "steps[0].error_steps", "integrations.error_route_missing"),
        (
            process(step("a", "read", config={"connection": "nowhere", "entity": "x"})),
            "steps[0].config.connection",
            "integrations.binding_missing",
        ),
        (process(step("a", "flow", config={"flow": "nothing"})), "steps[0].config.flow", "integrations.flow_unknown"),
        (
            process(step("p", "parallel", config={"join": 3, "branches": [{"name": "a", "steps": []}]})),
            "steps[0].config.join",
            "integrations.join_impossible",
        ),
        (
            process(step("b", "branch", config={"cases": [{"name": "default", "when": "true", "steps": []}]})),
            "steps[0].config.cases[0].name",
            "integrations.branch_name",
        ),
        (
            process(step("a", "publish", config={"event": "run.completed.v1"})),
            "steps[0].config.event",
            "integrations.event_reserved",
        ),
        (
            process(step("a", "wait", config={"event": "com.acme.payd.v1"})),
            "steps[0].config.event",
            "integrations.event_undefined",
        ),
        (process(step("a", "nonsense")), "steps[0].kind", "integrations.invalid_value"),
        (process(step("a", config={"valuez": {}})), "steps[0].config.valuez", "integrations.unknown_key"),
        (process(step("a", "return"), value("b")), "steps[1]", "integrations.step_unreachable"),
        (
            process(
                step("l", "foreach", config={"items": "[1]", "steps": [value("a")]}), value("b", n="steps.a.output")
            ),
            "steps[1].config.values.n",
            "integrations.step_not_before",
        ),
    ],
)
def test_mistakes_are_named_by_path(as_acme: Tenant, definition: Any, path: str, code: str) -> None:
    assert problems(definition).get(path) == code, problems(definition)


def test_lambda_variables_are_no_columns(as_acme: Tenant) -> None:
    assert problems(process(value("a", n="list_sum([x.n * 2 for x in input.items])"))) == {}


def test_process_is_published_once_and_deployed(as_acme: Tenant) -> None:
    flow = create_flow("Month end", definition=NESTED, actor=SYSTEM)
    assert flow.kind == "process"
    first = publish_flow(flow.pk, actor=SYSTEM)
    again = publish_flow(flow.pk, actor=SYSTEM)
    assert (first.created, again.created) == (True, False)
    assert deploy_version(flow.pk, environment="dev", version=1, actor=SYSTEM).changed


def test_draft_stays_of_its_kind(as_acme: Tenant) -> None:
    flow = create_flow("Empty", kind="process", actor=SYSTEM)
    assert flow.draft["schema"] == "process/1"
    with pytest.raises(DefinitionInvalid):
        publish_flow(flow.pk, actor=SYSTEM)
    with pytest.raises(DefinitionInvalid, match="another kind"):
        update_draft(
            flow.pk, {"schema": "flow/1", "kind": "load", "nodes": [], "edges": []}, expected_revision=1, actor=SYSTEM
        )


def test_process_over_http_in_its_own_tenant_only(api_for: Any, acme: Tenant, globex: Tenant) -> None:
    api, other = api_for(acme), api_for(globex)
    made = api.post(f"{API}/flows", {"name": "Over HTTP", "kind": "process", "draft": NESTED}, format="json")
    assert made.status_code == 201, made.content
    flow_id = made.json()["id"]
    assert made.json()["kind"] == "process"
    checked = api.post(f"{API}/flows/{flow_id}/validate", {}, format="json").json()
    assert checked["valid"], checked
    assert api.post(f"{API}/flows/{flow_id}/publish", {"note": ""}, format="json").status_code in (200, 201)
    started = api.post(f"{API}/flows/{flow_id}/runs", {"version": "draft", "parameters": {"n": 2}}, format="json")
    assert started.status_code == 202, started.content
    assert started.json()["kind"] == "process"
    assert other.get(f"{API}/flows/{flow_id}").status_code == 404
    assert other.post(f"{API}/flows/{flow_id}/runs", {"version": "draft"}, format="json").status_code == 404
    assert api.post(f"{API}/flows/{flow_id}/preview", {}, format="json").status_code == 422


def test_schema_is_served(api_for: Any, acme: Tenant) -> None:
    response = api_for(acme).get(f"{API}/schemas/process-1.json")
    assert response.status_code == 200
    assert response.json()["$id"] == "urn:portal:schema:process/1"
