"""The decision table: rules over inputs, one hit policy, and no answer that the table does not clearly give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.engine.contracts import StepContext, StepOutcome
from apps.engine.exceptions import DecisionAmbiguous, DecisionInputOutside, DecisionOpen
from apps.engine.services.processes.scopes import Scope, exact
from apps.engine.services.processes.steps import ProcessStepType
from apps.expressions.contracts import Field, Schema
from apps.expressions.services.evaluation import evaluate_many
from apps.expressions.services.inputs import infer_schema
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.services.decision_domains import condition_type, is_inside
from apps.integrations.services.decisions import RULE_KEY, top_rules


class Decide(ProcessStepType):
    """Answers by the rules whose conditions hold for the inputs."""

    type = "process.decide"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """{rule, …outputs}; a table that collects gives {rules, results, count}."""
        inputs: Sequence[Mapping[str, Any]] = step.config["inputs"]
        rules: Sequence[Mapping[str, Any]] = step.config["rules"]
        given = scope.evaluate({item["name"]: item["expression"] for item in inputs})
        for item in inputs:
            if not is_inside(item.get("domain"), given[item["name"]]):
                raise DecisionInputOutside(
                    f"{step.title}: {item['name']} = {given[item['name']]!r} is outside of the declared domain.",
                    field=item["name"],
                    value=given[item["name"]],
                )
        hits = _find_hits(inputs, rules, given)
        if step.config["hit"] == "collect":
            return self._collect(rules, hits, scope, given)
        if not hits:
            otherwise = step.config["otherwise"]
            if otherwise is None:
                raise DecisionOpen(f"{step.title}: no rule applies to {_shown(given)}.")
            output = {RULE_KEY: None, **scope.evaluate(otherwise, given=given)}
            return StepOutcome(output=output, detail="No rule applies.")
        if step.config["hit"] == "first":
            hits = hits[:1]
        elif step.config["hit"] == "priority":
            hits = top_rules(rules, hits)
        if len(hits) > 1:
            names = ", ".join(rules[index]["name"] for index in hits)
            raise DecisionAmbiguous(f"{step.title}: the rules {names} all apply to {_shown(given)}.")
        rule = rules[hits[0]]
        output = {RULE_KEY: rule["name"], **scope.evaluate(rule["then"], given=given)}
        return StepOutcome(output=output, detail=rule["name"])

    def _collect(
        self, rules: Sequence[Mapping[str, Any]], hits: Sequence[int], scope: Scope, given: Mapping[str, Any]
    ) -> StepOutcome:
        names = [rules[index]["name"] for index in hits]
        results = [scope.evaluate(rules[index]["then"], given=given) for index in hits]
        output = {"rules": names, "results": results, "count": len(hits)}
        return StepOutcome(output=output, detail=", ".join(names) or "No rule applies.")


def _find_hits(
    inputs: Sequence[Mapping[str, Any]], rules: Sequence[Mapping[str, Any]], given: Mapping[str, Any]
) -> list[int]:
    """Places of the rules of which every condition is true; NULL is not true."""
    context = {name: exact(value) for name, value in given.items()}
    inferred = {one.name: one for one in infer_schema(context)}
    fields = []
    for item in inputs:
        type_ = condition_type(item.get("domain"))
        fields.append(inferred[item["name"]] if type_ is None else Field(item["name"], type_))
    cells = tuple((f"{rule['name']}/{name}", text) for rule in rules for name, text in rule["when"].items())
    values = evaluate_many(cells, context, Schema(tuple(fields)))
    return [
        index
        for index, rule in enumerate(rules)
        if all(values[f"{rule['name']}/{name}"] is True for name in rule["when"])
    ]


def _shown(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in given.items())[:300] or "this"
