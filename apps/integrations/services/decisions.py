"""Decision tables: what their conditions may say, and whether their rules leave gaps or overlap.

A condition is an expression over its own input alone. One that only compares the input with constants is decided by
where the value lies among these constants, so a few values stand for the whole declared domain, and the check is exact:
every rule's conditions are evaluated, by the same engine as at run time, for each constant and between any two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import InvalidOperation
from itertools import combinations, product
from typing import Any

from apps.core.exceptions import Problem
from apps.expressions.contracts import Field, Schema
from apps.expressions.exceptions import ExpressionInvalid
from apps.expressions.services.evaluation import evaluate_rows
from apps.expressions.services.parsing import ParseRefused, parse_expression
from apps.expressions.tree import Name
from apps.integrations.services.decision_domains import (
    NotComparable,
    Value,
    bounds_of,
    condition_type,
    list_constants,
    representatives_of,
)
from apps.integrations.shape import path_text

COMBINATIONS_MOST = 50_000
SHOWN_MOST = 20
RULE_KEY = "rule"
"""Name in the output that says which rule answered."""
Path = list[str | int]


def find_decision_problems(config: Mapping[str, Any], path: Path) -> list[Problem]:
    """Every finding about a decision table of right shape: names, conditions, then gaps and overlaps.

    Args:
        config: settings of the step, defaults written out.
        path: place of the settings in the definition.
    """
    finder = _Finder(config, path)
    finder.names()
    finder.cells()
    if not finder.problems:
        finder.coverage()
    return finder.problems


class _Finder:
    """One look at one table."""

    def __init__(self, config: Mapping[str, Any], path: Path) -> None:
        self.config = config
        self.path = path
        self.hit: str = config["hit"]
        self.inputs: Sequence[Mapping[str, Any]] = config["inputs"]
        self.rules: Sequence[Mapping[str, Any]] = config["rules"]
        self.problems: list[Problem] = []

    def add(self, parts: Path, code: str, message: str, *, severity: str = "error", **places: Any) -> None:
        place = path_text([*self.path, *parts])
        self.problems.append(Problem(place, f"integrations.{code}", message, severity=severity, **places))

    def names(self) -> None:
        """Names that are twice, missing or unknown, and empty domains."""
        for listed in ("inputs", "rules"):
            seen: set[str] = set()
            for index, item in enumerate(self.config[listed]):
                if item["name"] in seen:
                    self.add([listed, index, "name"], "name_twice", f"There is another {item['name']!r}.")
                seen.add(item["name"])
        for index, item in enumerate(self.inputs):
            self.domain(item.get("domain"), ["inputs", index, "domain"])
        outputs = self.config["outputs"]
        if RULE_KEY in outputs:
            self.add(["outputs"], "name_reserved", f"The output already has {RULE_KEY!r}: which rule answered.")
        answers: list[tuple[Path, Mapping[str, Any]]] = [
            (["rules", index, "then"], rule["then"]) for index, rule in enumerate(self.rules)
        ]
        if self.config["otherwise"] is not None:
            answers.append((["otherwise"], self.config["otherwise"]))
            if self.hit == "collect":
                message = "A table that collects gives an empty list when no rule applies."
                self.add(["otherwise"], "otherwise_unused", message)
        for place, given in answers:
            for name in outputs:
                if name not in given:
                    self.add([*place, name], "output_missing", f"The output {name!r} has no value here.")
            for name in given:
                if name not in outputs:
                    self.add([*place, name], "output_unknown", f"The table has no output {name!r}.")

    def domain(self, domain: Mapping[str, Any] | None, place: Path) -> None:
        if domain is None:
            return
        if domain["type"] == "enum":
            kinds = {"number" if isinstance(one, int | float) and not isinstance(one, bool) else type(one).__name__
                     for one in domain["values"]}  # fmt: skip
            if len(kinds) > 1:
                self.add([*place, "values"], "domain_mixed", "The values are texts, numbers or truth values, not both.")
            return
        try:
            low, high = bounds_of(domain)
        except (ValueError, TypeError, InvalidOperation):
            self.add(place, "domain_bounds", f"The bounds are not of type {domain['type']}.")
            return
        if low is not None and high is not None and low > high:
            self.add(place, "domain_empty", f"No value is at least {domain['min']} and at most {domain['max']}.")

    def cells(self) -> None:
        """Conditions: each an expression over its own input."""
        known = {item["name"] for item in self.inputs}
        for index, rule in enumerate(self.rules):
            for name, text in rule["when"].items():
                place: Path = ["rules", index, "when", name]
                if name not in known:
                    self.add(place, "decision_input_unknown", f"The table has no input {name!r}.")
                    continue
                try:
                    tree = parse_expression(text)
                except ParseRefused as refused:
                    found = refused.problem
                    where = path_text([*self.path, *place])
                    self.problems.append(
                        Problem(where, found.code, found.message, start=found.start, end=found.end, hint=found.hint)
                    )
                    continue
                for node in tree.walk():
                    if isinstance(node, Name) and node.parts[0] != name:
                        message = f"A condition on {name!r} may name {name!r} only, not {node.parts[0]!r}."
                        self.add(place, "decision_cell_name", message, start=node.start, end=node.end)

    # -- gaps and overlaps ---------------------------------------------------------------------------------------

    def coverage(self) -> None:
        """What the rules leave open, and where more than one answers."""
        open_ended = [item["name"] for item in self.inputs if item.get("domain") is None]
        if open_ended:
            self.unchecked(["inputs"], f"no domain is declared for {', '.join(open_ended)}.")
            return
        axes = []
        for item in self.inputs:
            axis = self.axis(item)
            if axis is None:
                return
            axes.append(axis)
        size = math.prod(len(axis) for axis in axes)
        if size > COMBINATIONS_MOST:
            self.unchecked(["rules"], f"{size:,} combinations are too many.")
            return
        self.report(axes)

    def unchecked(self, place: Path, why: str) -> None:
        self.add(place, "decision_unchecked", f"Gaps and overlaps are not looked for: {why}", severity="warning")

    def axis(self, item: Mapping[str, Any]) -> list[tuple[int, Value]] | None:
        """For one input: the sets of rules (as bits) that a value of it lets through, each with such a value."""
        name, domain = item["name"], item["domain"]
        cells = [(place, rule["when"][name]) for place, rule in enumerate(self.rules) if name in rule["when"]]
        limits: set[Any] = set()
        for place, text in cells:
            try:
                limits |= set(list_constants(parse_expression(text), domain["type"]))
            except (NotComparable, ValueError, InvalidOperation):
                self.unchecked(["rules", place, "when", name], f"this compares {name!r} with more than constants.")
                return None
        values = list(representatives_of(domain, limits))
        type_ = condition_type(domain)
        assert type_ is not None
        named = tuple((f"c{number}", text) for number, (_, text) in enumerate(cells))
        try:
            rows = evaluate_rows(named, [{name: one.value} for one in values], Schema((Field(name, type_),)))
        except ExpressionInvalid as error:
            number = int(str(error.field or "c0").removeprefix("c"))
            self.add(["rules", cells[number][0], "when", name], "decision_cell", error.message)
            return None
        everything = (1 << len(self.rules)) - 1
        free = everything & ~sum(1 << place for place, _ in cells)
        axis: dict[int, Value] = {}
        last, before = -1, None
        for value, row in zip(values, rows, strict=True):
            if row.errors:
                self.unchecked(["rules", cells[0][0], "when", name], row.errors[0].message)
                return None
            bits = free
            for number, (place, _) in enumerate(cells):
                answer = row.values[f"c{number}"]
                if answer is not None and not isinstance(answer, bool):
                    self.add(["rules", place, "when", name], "decision_cell", "A condition is true or false.")
                    return None
                bits |= (answer is True) << place
            if bits == last and before is not None and before.value is not None:
                run = before.joined(value)
                if axis[bits].value == before.value:
                    axis[bits] = run
            else:
                run = value
                axis.setdefault(bits, run)
            last, before = bits, run
        return list(axis.items())

    def report(self, axes: Sequence[Sequence[tuple[int, Value]]]) -> None:
        everything = (1 << len(self.rules)) - 1
        reached = won = gaps = 0
        pairs: dict[tuple[int, int], str] = {}
        for place in product(*axes):
            bits = everything
            for one, _ in place:
                bits &= one
            where = ", ".join(value.text(item["name"]) for (_, value), item in zip(place, self.inputs, strict=True))
            reached |= bits
            if not bits:
                gaps += 1
                self.gap(gaps, where)
                continue
            rivals = self.rivals(bits)
            won |= 1 << rivals[0]
            for pair in combinations(rivals, 2):
                pairs.setdefault(pair, where)
        if gaps > SHOWN_MOST:
            self.add(["rules"], "decision_gap", f"There are {gaps - SHOWN_MOST:,} more gaps.")
        for (first, second), where in list(pairs.items())[:SHOWN_MOST]:
            names = f"{self.rules[first]['name']!r} and {self.rules[second]['name']!r}"
            if self.hit == "unique":
                self.add(["rules", second], "decision_overlap", f"The rules {names} both apply where {where}.")
            else:
                message = f"The rules {names} have the same priority and both apply where {where}."
                self.add(["rules", second, "priority"], "decision_tie", message)
        for index, rule in enumerate(self.rules):
            if not reached >> index & 1:
                message = f"The rule {rule['name']!r} never applies within the declared domains."
                self.add(["rules", index], "decision_rule_dead", message, severity="warning")
            elif self.hit in ("first", "priority") and not won >> index & 1 and not pairs:
                message = f"The rule {rule['name']!r} never answers: others always come before it."
                self.add(["rules", index], "decision_rule_hidden", message, severity="warning")

    def gap(self, number: int, where: str) -> None:
        if self.config["otherwise"] is None and self.hit != "collect" and number <= SHOWN_MOST:
            names = ", ".join(repr(rule["name"]) for rule in self.rules[:SHOWN_MOST])
            hint = "Widen a rule, add one, or give `otherwise`."
            message = f"No rule applies where {where}; there are {names}."
            self.add(["rules"], "decision_gap", message, hint=hint)

    def rivals(self, bits: int) -> list[int]:
        """Rules that answer together where only one should; the first of them answers otherwise."""
        hits = [index for index in range(len(self.rules)) if bits >> index & 1]
        if self.hit in ("first", "collect"):
            return hits[:1]
        return top_rules(self.rules, hits) if self.hit == "priority" else hits


def top_rules(rules: Sequence[Mapping[str, Any]], hits: Sequence[int]) -> list[int]:
    """Those of the rules that have the highest priority among them."""
    best = max(rules[index].get("priority", 0) for index in hits)
    return [index for index in hits if rules[index].get("priority", 0) == best]
