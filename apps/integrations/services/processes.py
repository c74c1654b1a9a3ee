"""Everything that is wrong or doubtful in a process, by path: names, references, expressions, systems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from apps.core.exceptions import Problem
from apps.events.contracts import to_full_type
from apps.events.registries import event_types
from apps.events.selectors import is_event_defined
from apps.expressions.services.parsing import ParseRefused, parse_expression
from apps.expressions.tree import Lambda, Name, Node
from apps.expressions.types import find_type
from apps.integrations.exceptions import EnvironmentNotFound
from apps.integrations.models import Calendar, Flow
from apps.integrations.process_contracts import (
    DEFAULT_BRANCH,
    ERROR_BRANCH,
    ProcessDefinition,
    ProcessStep,
    ancestors_of,
    is_graph,
)
from apps.integrations.registries import process_handlers
from apps.integrations.selectors import find_binding, get_environment
from apps.integrations.services.decisions import find_decision_problems
from apps.integrations.services.mail_senders import find_sender, list_senders
from apps.integrations.shape import path_text

ENDING_KINDS = ("raise", "return")
EXPRESSION_MAPS = {
    "transform": "values",
    "return": "values",
    "flow": "input",
    "publish": "data",
    "query": "parameters",
    "task": "show",
    "handler": "arguments",
}
EXPRESSIONS = {
    "foreach": ("items",),
    "raise": ("message",),
    "load": ("since",),
    "write": ("rows",),
    "publish": ("correlation",),
    "delay": ("seconds",),
    "until": ("at",),
    "workday": ("days",),
    "wait": ("correlation", "timeout_s"),
    "mail": ("to", "cc", "bcc", "reply_to", "subject", "body"),
    "task": ("title", "description", "people", "deadline_s"),
}
VERSIONED = re.compile(r"\.v[0-9]+\Z")
Path = list[str | int]


@dataclass(frozen=True)
class _Scope:
    """What expressions at one place may name."""

    steps: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset({"input", "steps", "var", "run"})
    inputs: frozenset[str] | None = None
    variables: frozenset[str] = frozenset()

    def after(self, step: ProcessStep) -> _Scope:
        return replace(self, steps=self.steps | {step.id})

    def within(self, *roots: str) -> _Scope:
        return replace(self, roots=self.roots | set(roots))


@dataclass
class _Finder:
    definition: ProcessDefinition
    problems: list[Problem] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path, code: str, message: str, *, severity: str = "error", **places: Any) -> None:
        self.problems.append(Problem(path_text(path), f"integrations.{code}", message, severity=severity, **places))

    # -- structure -----------------------------------------------------------------------------------------------

    def sequence(self, steps: Sequence[ProcessStep], path: Path, scope: _Scope) -> _Scope:
        """Check steps that follow each other, or a graph; gives what may be named after them."""
        if is_graph(steps):
            return self.graph(steps, path, scope)
        ended: ProcessStep | None = None
        for index, step in enumerate(steps):
            place = [*path, index]
            if ended is not None:
                self.add(
                    place, "step_unreachable", f"No run gets here: {ended.id!r} ends the flow.", severity="warning"
                )
                ended = None
            self.step(step, place, scope)
            scope = scope.after(step)
            ended = step if step.kind in ENDING_KINDS and step.skip_if is None and step.on_error == "fail" else None
        return scope

    def graph(self, steps: Sequence[ProcessStep], path: Path, scope: _Scope) -> _Scope:
        """Check steps that name what they depend on; each may name its ancestors."""
        ids = {step.id for step in steps}
        for index, step in enumerate(steps):
            place = [*path, index]
            ancestors = ancestors_of(step, steps)
            for number, name in enumerate(step.dependencies or ()):
                if name not in ids:
                    message = f"There is no step {name!r} in the same list."
                    self.add([*place, "dependencies", number], "dependency_unknown", message)
            if step.id in ancestors:
                message = f"The step {step.id!r} waits for itself, through what it depends on."
                self.add([*place, "dependencies"], "dependency_cycle", message)
            self.step(step, place, replace(scope, steps=scope.steps | ancestors))
        return replace(scope, steps=scope.steps | ids)

    def step(self, step: ProcessStep, path: Path, scope: _Scope) -> None:
        """Check one step and all inside it."""
        if step.id in self.seen:
            self.add([*path, "id"], "step_twice", f"There is another step {step.id!r} at {self.seen[step.id]}.")
        self.seen.setdefault(step.id, path_text(path))
        self.envelope(step, path, scope)
        for parts, text in expressions_of(step):
            inner = scope
            if step.kind == "while" and parts[0] in ("condition", "next"):
                inner = self.loop_scope(step, scope, names_body=parts[0] == "next")
            if step.kind == "decide" and parts[0] in ("rules", "otherwise"):
                inner = scope.within("given")
            self.expression(text, [*path, "config", *parts], inner)
        self.settings(step, [*path, "config"])
        self.bodies(step, path, scope)
        if step.error_steps:
            self.sequence(step.error_steps, [*path, "error_steps"], scope.within("error"))
        if step.compensation:
            self.sequence(step.compensation, [*path, "compensation"], scope.after(step).within("error"))

    def loop_scope(self, step: ProcessStep, scope: _Scope, *, names_body: bool) -> _Scope:
        inner = scope.within("state", "index")
        return replace(inner, steps=inner.steps | {item.id for item in step.body("")}) if names_body else inner

    def envelope(self, step: ProcessStep, path: Path, scope: _Scope) -> None:
        """The properties that all kinds share."""
        if step.on_error == "route" and not step.error_steps:
            self.add([*path, "error_steps"], "error_route_missing", "An error is routed to steps, and there are none.")
        if step.on_error != "route" and step.error_steps:
            self.add([*path, "on_error"], "error_route_unused", 'Error steps need on_error "route".')
        if step.skip_if is not None:
            self.expression(step.skip_if, [*path, "skip_if"], scope)
        if step.cache is not None:
            self.expression(step.cache["key"], [*path, "cache", "key"], scope)
            if step.bodies:
                self.add([*path, "cache"], "cache_not_here", "A step with steps inside is not cached; cache those.")
        if step.compensation and step.cache is not None:
            self.add([*path, "cache"], "cache_not_undone", "What is undone is done each time: leave out the cache.")
        for inner in step.compensation:
            if any(one.compensation for one in inner.walk()):
                self.add([*path, "compensation"], "compensation_nested", "A compensation is not compensated itself.")
        if step.timeout_s is not None and step.bodies:
            self.add([*path, "timeout_s"], "timeout_not_here", "Give the limit to the steps inside this one.")
        if step.mock is not None and step.mock["enabled"]:
            self.add([*path, "mock"], "step_mocked", f"{step.title} does nothing: it is mocked.", severity="warning")

    def bodies(self, step: ProcessStep, path: Path, scope: _Scope) -> None:
        """The sequences inside a step."""
        listed = {"branch": "cases", "parallel": "branches"}.get(step.kind)
        names: set[str] = set()
        for index, body in enumerate(step.bodies):
            if listed is None:
                roots = ("item", "index") if step.kind == "foreach" else ("state", "index")
                self.sequence(body.steps, [*path, "config", "steps"], scope.within(*roots))
                continue
            given = step.config[listed]
            if index >= len(given):
                self.sequence(body.steps, [*path, "config", DEFAULT_BRANCH], scope)
                continue
            place = [*path, "config", listed, index]
            if body.name in (DEFAULT_BRANCH, ERROR_BRANCH) or body.name in names:
                self.add([*place, "name"], "branch_name", f"The name {body.name!r} is taken.")
            names.add(body.name)
            self.sequence(body.steps, [*place, "steps"], scope)

    def settings(self, step: ProcessStep, path: Path) -> None:
        """What the JSON Schema cannot say about one kind's settings."""
        config = step.config
        if step.kind == "parallel" and isinstance(config["join"], int) and config["join"] > len(config["branches"]):
            message = f"{config['join']} of {len(config['branches'])} branches can never end well."
            self.add([*path, "join"], "join_impossible", message)
        if step.kind == "transform" and set(config["values"]) & set(config["constants"]):
            both = ", ".join(sorted(set(config["values"]) & set(config["constants"])))
            self.add([*path, "constants"], "name_twice", f"There is a value and a constant {both}.")
        if step.kind == "while":
            unknown = sorted(set(config["next"]) - set(config["state"]))
            for name in unknown:
                self.add([*path, "next", name], "state_unknown", f"The state has no {name!r} to begin with.")
        if step.kind == "decide":
            self.problems += find_decision_problems(config, path)
        if step.kind == "task":
            self.task_settings(config, path)
        if step.kind == "mail" and find_sender(config["sender"]) is None:
            message = f"Mail may not be sent from {config['sender']}."
            hint = f"Allowed: {', '.join(list_senders())}. The operator adds others."
            self.add([*path, "sender"], "mail_sender", message, hint=hint)
        if step.kind == "write":
            self.write_settings(config, path)
        if step.kind == "handler" and config["handler"] not in process_handlers:
            known = ", ".join(sorted(handler.type for handler in process_handlers)) or "none"
            message = f"No installed app has a handler {config['handler']!r}."
            self.add([*path, "handler"], "handler_unknown", message, hint=f"Registered: {known}.")
        if step.kind == "publish" and event_types.find(to_full_type(config["event"])) is not None:
            message = f"Only the portal announces {config['event']}; choose another name."
            self.add([*path, "event"], "event_reserved", message)
        elif step.kind in ("publish", "wait") and VERSIONED.search(config["event"]):
            self.event_type(config["event"], [*path, "event"])

    def event_type(self, name: str, path: Path) -> None:
        """A name with a version looks like a type; when none is defined it would silently be a message's name."""
        if event_types.find(to_full_type(name)) is None and not is_event_defined(name):
            message = f"No event type {name} is defined, so this is the name of a message between processes."
            hint = "Define the type under Events, or correct its name."
            self.add(path, "event_undefined", message, severity="warning", hint=hint)

    def task_settings(self, config: Any, path: Path) -> None:
        if (config["people"] is None) == (config["role"] is None):
            self.add([*path, "people"], "task_candidates", "Name either the people or the role that may answer.")
        if (config["deadline_s"] is None) != (config["on_deadline"] is None):
            message = "A deadline says what happens when it passes: fail or continue."
            self.add([*path, "on_deadline"], "task_deadline", message)
        for index, name in enumerate(config["form"].get("required", ())):
            if name not in config["form"]["properties"]:
                self.add([*path, "form", "required", index], "task_field_unknown", f"The form has no field {name!r}.")

    def write_settings(self, config: Any, path: Path) -> None:
        names = [item["name"] for item in config["fields"]]
        for index, item in enumerate(config["fields"]):
            self.type([*path, "fields", index, "type"], item["type"])
            if names.index(item["name"]) != index:
                self.add([*path, "fields", index, "name"], "name_twice", f"There is another field {item['name']!r}.")
        for index, key in enumerate(config["keys"]):
            if key not in names:
                self.add([*path, "keys", index], "key_unknown", f"There is no field {key!r}.")
        if config["disposition"] == "upsert" and not config["keys"]:
            self.add([*path, "keys"], "keys_missing", "An upsert needs the fields that identify a row.")

    def type(self, path: Path, type_: str) -> None:
        if find_type(type_) is None:
            self.add(path, "type_unknown", f"There is no type {type_!r}.")

    # -- expressions ---------------------------------------------------------------------------------------------

    def expression(self, text: str, path: Path, scope: _Scope) -> None:
        """Parse an expression and check that what it names can be there when it is evaluated."""
        try:
            tree = parse_expression(text)
        except ParseRefused as refused:
            found = refused.problem
            self.problems.append(
                Problem(path_text(path), found.code, found.message, start=found.start, end=found.end, hint=found.hint)
            )
            return
        for name in _names(tree, frozenset()):
            self.reference(name, path, scope)

    def reference(self, name: Name, path: Path, scope: _Scope) -> None:
        root, *rest = name.parts
        place: dict[str, Any] = {"start": name.start, "end": name.end}
        if root not in scope.roots:
            known = ", ".join(sorted(scope.roots))
            self.add(path, "name_unknown", f"There is no {root!r} here.", hint=f"Known here: {known}.", **place)
        elif root == "steps" and rest and rest[0] not in scope.steps:
            where = self.definition.by_id.get(rest[0])
            message = f"There is no step {rest[0]!r}."
            if where is not None:
                message = f"The step {rest[0]!r} has not surely ended before this one."
            self.add(path, "step_not_before", message, **place)
        elif root == "input" and rest and scope.inputs is not None and rest[0] not in scope.inputs:
            self.add(path, "input_unknown", f"The input has no field {rest[0]!r}.", **place)
        elif root == "var" and rest and rest[0] not in scope.variables:
            self.add(path, "variable_unknown", f"The variable {rest[0]!r} is not declared.", **place)


def find_process_problems(definition: ProcessDefinition, environment: str) -> list[Problem]:
    """Every finding about a process of right shape.

    Args:
        definition: the process.
        environment: short name; decides which connections and flows are meant.
    """
    finder = _Finder(definition)
    inputs = None if definition.input is None else frozenset(item.name for item in definition.input)
    scope = _Scope(inputs=inputs, variables=frozenset(definition.variables))
    names = [item.name for item in definition.input or ()]
    for index, item in enumerate(definition.input or ()):
        finder.type(["input", index, "type"], item.type)
        if names.index(item.name) != index:
            finder.add(["input", index, "name"], "name_twice", f"There is another field {item.name!r}.")
    scope = finder.sequence(definition.steps, ["steps"], scope)
    for name, text in (definition.output or {}).items():
        finder.expression(text, ["output", name], scope)
    return finder.problems + _system_problems(definition, environment)


def expressions_of(step: ProcessStep) -> Iterator[tuple[Path, str]]:
    """Every expression of a step's own config, with its place below `config`."""
    config = step.config
    if step.kind in EXPRESSION_MAPS:
        listed = EXPRESSION_MAPS[step.kind]
        for name, text in config[listed].items():
            yield [listed, name], text
    for name in EXPRESSIONS.get(step.kind, ()):
        if config[name] is not None:
            yield [name], config[name]
    if step.kind == "branch":
        for index, case in enumerate(config["cases"]):
            yield ["cases", index, "when"], case["when"]
    if step.kind == "while":
        yield ["condition"], config["condition"]
        for listed in ("state", "next"):
            for name, text in config[listed].items():
                yield [listed, name], text
    if step.kind == "mail" and config["attachment"] is not None:
        yield ["attachment", "value"], config["attachment"]["value"]
    if step.kind == "decide":
        yield from _decision_expressions(config)


def _decision_expressions(config: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Inputs and answers; the conditions see the inputs only, and are checked with the table."""
    for index, item in enumerate(config["inputs"]):
        yield ["inputs", index, "expression"], item["expression"]
    for index, rule in enumerate(config["rules"]):
        for name, text in rule["then"].items():
            yield ["rules", index, "then", name], text
    for name, text in (config["otherwise"] or {}).items():
        yield ["otherwise", name], text


@lru_cache(maxsize=2_048)
def references_of(text: str) -> frozenset[tuple[str, str]]:
    """What an expression names: (root, first part below it or `""`). An expression with errors names nothing."""
    try:
        tree = parse_expression(text)
    except ParseRefused:
        return frozenset()
    return frozenset(
        (name.parts[0], name.parts[1] if len(name.parts) > 1 else "") for name in _names(tree, frozenset())
    )


def _names(node: Node, bound: frozenset[str]) -> Iterator[Name]:
    """Names that are not a lambda's own."""
    if isinstance(node, Name):
        if node.parts[0] not in bound:
            yield node
        return
    if isinstance(node, Lambda):
        bound = bound | set(node.params)
    for child in node.children():
        yield from _names(child, bound)


def _system_problems(definition: ProcessDefinition, environment: str) -> list[Problem]:
    try:
        place = get_environment(environment)
    except EnvironmentNotFound as error:
        return [Problem("", error.code, error.message)]
    calendars = set(Calendar.objects.values_list("slug", flat=True))
    missing = [slot for slot in definition.slots if find_binding(place.id, slot) is None]
    wanted = {step.config["flow"] for step in definition.walk() if step.kind in ("load", "flow")}
    kinds = dict(
        Flow.objects.filter(slug__in=wanted, archived_at__isnull=True).values_list("slug", "kind") if wanted else ()
    )
    problems = []
    for path, step in _places(definition.steps, ["steps"]):
        if step.config.get("connection") in missing:
            problems.append(
                Problem(
                    path_text([*path, "config", "connection"]),
                    "integrations.binding_missing",
                    f"There is no connection {step.config['connection']!r} in {place.name}.",
                    hint="Create a connection of that short name, or bind the slot under Settings, Environments.",
                )
            )
        if step.kind == "workday" and step.config["calendar"] not in calendars:
            message = f"There is no calendar {step.config['calendar']!r}."
            problems.append(Problem(path_text([*path, "config", "calendar"]), "integrations.calendar_unknown", message))
        if step.kind in ("load", "flow"):
            right = "load" if step.kind == "load" else "process"
            if kinds.get(step.config["flow"]) != right:
                message = f"There is no {right} flow of the short name {step.config['flow']!r}."
                problems.append(Problem(path_text([*path, "config", "flow"]), "integrations.flow_unknown", message))
    return problems


def _places(steps: Sequence[ProcessStep], path: Path) -> Iterator[tuple[Path, ProcessStep]]:
    """Every step with its place in the JSON."""
    for index, step in enumerate(steps):
        place = [*path, index]
        yield place, step
        listed = {"branch": "cases", "parallel": "branches"}.get(step.kind)
        for number, body in enumerate(step.bodies):
            if listed is None:
                inside: Path = [*place, "config", "steps"]
            elif number < len(step.config[listed]):
                inside = [*place, "config", listed, number, "steps"]
            else:
                inside = [*place, "config", DEFAULT_BRANCH]
            yield from _places(body.steps, inside)
        yield from _places(step.error_steps, [*place, "error_steps"])
        yield from _places(step.compensation, [*place, "compensation"])
