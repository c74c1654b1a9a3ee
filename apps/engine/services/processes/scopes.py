"""What the expressions of a step see, and how their values become JSON."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from apps.engine.contracts import ERROR_KEY, Outputs, ResourceBag, RunFacts
from apps.engine.exceptions import OutputTooLarge, ProcessInputInvalid
from apps.engine.services.definitions import parse_process
from apps.engine.services.processes.walking import CHECK, END, ERROR_BRANCH, UNDO, Walker, shown
from apps.expressions.contracts import Field, Schema
from apps.expressions.exceptions import EvaluationFailed
from apps.expressions.services.evaluation import evaluate_many
from apps.expressions.services.inputs import infer_schema
from apps.expressions.types import SqlType, find_type
from apps.integrations.process_contracts import ProcessDefinition, ProcessStep, ancestors_of, is_graph
from apps.integrations.services.environments import resolve_variables
from apps.integrations.services.processes import references_of

SEGMENT = re.compile(
    r"(?P<id>[a-z][a-z0-9_-]*)(?:\[(?P<index>\d+)\])?(?::(?P<branch>[a-z][a-z0-9_-]*))?(?P<part>\.end|\.check)?"
)
OUTPUT_MOST = 1024 * 1024
NO_ERROR = {"code": None, "message": None}


@dataclass
class Place:
    """Where a path leads in a definition.

    Attributes:
        step: the step there; None for the definition's own output.
        part: `""`, `.end` or `.check`.
        index: round of a check.
        visible: paths by id of the steps that have ended before.
        loop: innermost loop around it: (step, path, index).
        failed: path of the step whose error route this is.
        undone: path of the step whose compensation this is.
    """

    step: ProcessStep | None
    part: str = ""
    index: int = 0
    visible: dict[str, str] = field(default_factory=dict)
    loop: tuple[ProcessStep, str, int] | None = None
    failed: str | None = None
    undone: str | None = None


def find_place(definition: ProcessDefinition, path: str) -> Place:
    """The place of a path; its steps exist, because the walk made it."""
    place = Place(None)
    steps, prefix = definition.steps, ""
    if path.startswith("."):
        _see(place, steps, prefix, until=None)
        return place
    undoing = path.startswith(UNDO)
    segments = path.removeprefix(UNDO).split("/")
    for number, segment in enumerate(segments):
        match = SEGMENT.fullmatch(segment)
        assert match is not None, path
        step = _see(place, steps, prefix, until=match["id"])
        place.step, place.part = step, match["part"] or ""
        here = prefix + step.id
        if match["index"] is not None:
            index = int(match["index"])
            if place.part == CHECK:
                place.index = index
                if index:
                    _see(place, step.body(""), f"{here}[{index - 1}]/", until=None)
                place.loop = (step, here, index)
            else:
                place.loop = (step, here, index)
                steps, prefix = step.body(""), f"{here}[{index}]/"
        elif match["branch"] is not None:
            if match["branch"] == ERROR_BRANCH:
                place.failed = here
            steps, prefix = step.body(match["branch"]), f"{here}:{match['branch']}/"
        elif undoing and number < len(segments) - 1:
            place.undone, place.visible[step.id] = here, here
            steps, prefix = step.compensation, f"{UNDO}{here}/"
    return place


def _see(place: Place, steps: Sequence[ProcessStep], prefix: str, *, until: str | None) -> ProcessStep:
    if until is not None and is_graph(steps):
        found = next(step for step in steps if step.id == until)
        place.visible |= {name: prefix + name for name in ancestors_of(found, steps)}
        return found
    for step in steps:
        if step.id == until:
            return step
        place.visible[step.id] = prefix + step.id
    assert until is None, until
    return steps[-1]


class Scope:
    """The values that expressions at one path may name: input, steps, var, run, item, index, state, error."""

    def __init__(self, run: RunFacts, path: str, outputs: Mapping[str, Any], resources: ResourceBag) -> None:
        self.run = run
        self.definition = parse_process(run)
        self.path = path
        self.outputs = outputs if isinstance(outputs, Outputs) else Outputs(outputs)
        self.resources = resources
        self.place = find_place(self.definition, path)
        self._walked = False

    def evaluate(self, named: Mapping[str, str], **extra: Any) -> dict[str, Any]:
        """Values of expressions as JSON.

        Args:
            named: expressions by name.
            extra: further roots (`state`).

        Raises:
            ExpressionInvalid: one names what is not there.
            EvaluationFailed: one has no value for this context.
        """
        if not named:
            return {}
        wanted: dict[str, set[str]] = {}
        for text in named.values():
            for root, part in references_of(text):
                wanted.setdefault(root, set()).add(part)
        context = {root: self._root(root, parts, extra) for root, parts in wanted.items()}
        context = {root: exact(value) for root, value in context.items()}
        values = evaluate_many(tuple(named.items()), context, self._schema(context))
        return {name: to_json(value) for name, value in values.items()}

    def holds(self, text: str) -> bool:
        """Whether a BOOLEAN expression is true."""
        return self.evaluate({"condition": text})["condition"] is True

    def visible_outputs(self) -> dict[str, dict[str, Any]]:
        """By id, the outputs of the steps that have ended before; of one that failed nothing."""
        found: dict[str, dict[str, Any]] = self._root("steps", {""}, {})
        return {name: item["output"] for name, item in found.items()}

    def handled_error(self) -> dict[str, Any] | None:
        """{code, message, step} of the error whose route or compensation this is."""
        error: dict[str, Any] = self._root("error", {""}, {})
        return error if error["code"] is not None else None

    def value_inside(self, path: str) -> Any:
        """What the steps inside a step left; known once all of them have ended."""
        self._walk()
        return self.outputs.memo["values"][path]

    # -- roots ---------------------------------------------------------------------------------------------------

    def _root(self, root: str, parts: set[str], extra: Mapping[str, Any]) -> Any:
        if root in extra:
            return extra[root]
        if root == "input":
            return dict(self.run.parameters)
        if root == "steps":
            if "errors" not in self.outputs.memo:
                self._walk()
            names = self.place.visible if "" in parts else parts & set(self.place.visible)
            return {name: self._step(self.place.visible[name]) for name in names if name in self.place.visible}
        if root == "var":
            return dict(
                self.resources.get(
                    "process.variables",
                    str(self.run.environment_id),
                    lambda: resolve_variables(self.run.environment_id, self.definition, purpose="run.process"),
                )
            )
        if root == "run":
            return {"id": str(self.run.id), "flow": self.run.flow_name, "resumed": self.run.resumed}
        if root == "error":
            self._walk()
            error = self.outputs.memo["errors"].get(self.place.failed) or {}
            if self.place.failed is None and self.run.compensation is not None:
                error = self.run.compensation["error"]
            return {"code": error.get("code"), "message": error.get("message"), "step": error.get("step")}
        return self._loop_root(root)

    def _loop_root(self, root: str) -> Any:
        if self.place.loop is None:
            return None
        step, path, index = self.place.loop
        if root == "index":
            return index
        if root == "item" and step.kind == "foreach":
            return self.outputs[path]["items"][index]
        if root == "state" and step.kind == "while":
            return self.outputs[f"{path}[{index}]{CHECK}"]["state"]
        return None

    def _step(self, path: str) -> dict[str, Any]:
        found = self.outputs.get(path + END) or self.outputs.get(path) or {}
        error = found.get(ERROR_KEY)
        if error is None and path in self.outputs.memo.get("errors", {}):
            error = self.outputs.memo["errors"][path]
        shown_error = NO_ERROR if error is None else {"code": error.get("code"), "message": error.get("message")}
        return {"output": {} if error is not None else shown(found), "error": shown_error}

    def _walk(self) -> None:
        if not self._walked:
            undo = None if self.run.compensation is None else self.run.compensation["steps"]
            Walker(self.definition, self.outputs, undo=undo).steer()
            self._walked = True

    def _schema(self, context: Mapping[str, Any]) -> Schema:
        inferred = infer_schema(context)
        if self.definition.input is None or "input" not in context:
            return inferred
        declared = Field("input", str(input_type(self.definition)))
        return Schema(tuple(declared if one.name == "input" else one for one in inferred))


@lru_cache(maxsize=64)
def _struct(fields: tuple[tuple[str, str], ...]) -> SqlType:
    items = tuple(find_type(type_) or SqlType("VARCHAR") for _, type_ in fields)
    return SqlType("STRUCT", names=tuple(name for name, _ in fields), items=items)


def input_type(definition: ProcessDefinition) -> SqlType:
    """The declared input as one STRUCT."""
    return _struct(tuple((item.name, item.type) for item in definition.input or ()))


def check_input(definition: ProcessDefinition, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is started with, against the declared fields.

    Raises:
        ProcessInputInvalid: a field is unknown, missing, or does not fit its type.
    """
    if definition.input is None:
        return dict(given)
    known = {item.name: item for item in definition.input}
    for name in given:
        if name not in known:
            raise ProcessInputInvalid(f"The input has no field {name!r}.", field=f"parameters.{name}")
    for item in definition.input:
        if given.get(item.name) is None and not item.nullable:
            raise ProcessInputInvalid(f"The input needs {item.name!r}.", field=f"parameters.{item.name}")
    values = {item.name: given.get(item.name) for item in definition.input}
    if values:
        schema = Schema(tuple(Field(item.name, str(find_type(item.type))) for item in definition.input))
        named = tuple((name, f'"{name}" is null') for name in values)
        try:
            evaluate_many(named, exact(values), schema)
        except EvaluationFailed as error:
            raise ProcessInputInvalid(error.message, field=f"parameters.{error.field}") from None
    return values


def exact(value: Any) -> Any:
    """A JSON value whose fractions are decimals: 12.30 is 12.3, not the binary number nearest to it."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {str(name): exact(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [exact(inner) for inner in value]
    return value


def to_json(value: Any) -> Any:
    """A value of an expression as JSON. A decimal is a number where JSON's numbers hold it exactly, else text."""
    if value is None or isinstance(value, bool | str | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, Decimal):
        if value == value.to_integral_value() and abs(value) < 2**53:
            return int(value)
        return float(value) if Decimal(repr(float(value))) == value else format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(name): to_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    return str(value)


def ensure_small(output: Mapping[str, Any], size: int) -> None:
    """Refuse an output of more than a megabyte.

    Raises:
        OutputTooLarge: it is.
    """
    if size > OUTPUT_MOST:
        raise OutputTooLarge(f"The output has {size:,} bytes; at most {OUTPUT_MOST:,} are kept.", value=len(output))
