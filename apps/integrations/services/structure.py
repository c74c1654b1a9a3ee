"""Rules about a definition as a whole that need neither expressions nor systems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from apps.core.exceptions import Problem
from apps.integrations.choices import KEYED_DISPOSITIONS, Disposition, LoadMode
from apps.integrations.contracts import FlowDefinition
from apps.integrations.shape import path_text

CHAIN = ("source", "map", "target")
ONE_OF = {"source": "a source", "map": "a mapping", "target": "a target"}


def find_graph_problems(definition: FlowDefinition) -> list[Problem]:
    """Whether the nodes are one source, one mapping and one target, joined in that order."""
    problems: list[Problem] = []
    for node_id, count in Counter(node.id for node in definition.nodes).items():
        if count > 1:
            problems.append(_problem("nodes", "duplicate_node", f"{count} nodes have the id {node_id!r}."))
    kinds = Counter(node.kind for node in definition.nodes)
    for kind in CHAIN:
        if kinds[kind] == 0:
            problems.append(_problem("nodes", "node_missing", f"A load needs {ONE_OF[kind]}."))
        elif kinds[kind] > 1:
            problems.append(_problem("nodes", "too_many_nodes", f"A load has one {kind} node, not {kinds[kind]}."))
    known = {node.id for node in definition.nodes}
    for index, edge in enumerate(definition.edges):
        for end, node_id in (("from", edge.source), ("to", edge.target)):
            if node_id not in known:
                path = f"edges[{index}].{end}"
                problems.append(_problem(path, "unknown_node", f"There is no node {node_id!r}."))
    if problems:
        return problems
    by_kind = {node.kind: node.id for node in definition.nodes}
    wanted = {(by_kind["source"], by_kind["map"]), (by_kind["map"], by_kind["target"])}
    given = [(edge.source, edge.target) for edge in definition.edges]
    if set(given) != wanted or len(given) != len(wanted):
        message = "The nodes must be joined in one line: source, mapping, target."
        problems.append(_problem("edges", "not_a_line", message))
    return problems


def find_rule_problems(definition: FlowDefinition) -> list[Problem]:
    """Duplicates, keys, and combinations of settings that cannot work together."""
    return [
        *_mapping(definition),
        *_keys(definition),
        *_load(definition),
        *_names(definition),
    ]


def _mapping(definition: FlowDefinition) -> Iterator[Problem]:
    base = ["nodes", definition.index_of("map"), "config"]
    fields = definition.map.fields
    if not fields:
        yield _problem(path_text([*base, "fields"]), "nothing_mapped", "No field is mapped.")
    first: dict[str, int] = {}
    for index, field in enumerate(fields):
        path = path_text([*base, "fields", index, "target"])
        folded = field.target.lower()
        if folded in first:
            message = f"{field.target!r} is mapped twice; the first time as field {first[folded] + 1}."
            yield _problem(path, "duplicate_target", message)
        first.setdefault(folded, index)
        if field.target.startswith("_"):
            message = f"{field.target!r}: names that begin with _ belong to the portal."
            yield _problem(path, "reserved_name", message)
        if field.target != field.target.strip() or "\x00" in field.target:
            yield _problem(path, "invalid_name", f"{field.target!r} begins or ends with a space.")
    seen: set[str] = set()
    for index, rule in enumerate(definition.map.validations):
        if rule.id in seen:
            path = path_text([*base, "validations", index, "id"])
            yield _problem(path, "duplicate_rule", f"Two validations have the id {rule.id!r}.")
        seen.add(rule.id)
        if rule.field is not None and rule.field not in {field.target for field in fields}:
            path = path_text([*base, "validations", index, "field"])
            yield _problem(path, "unknown_target", f"No mapped field is called {rule.field!r}.")


def _keys(definition: FlowDefinition) -> Iterator[Problem]:
    target = definition.target
    base = ["nodes", definition.index_of("target"), "config", "keys"]
    mapped = {field.target: (index, field) for index, field in enumerate(definition.map.fields)}
    if target.disposition in KEYED_DISPOSITIONS and not target.keys:
        message = f"{Disposition(target.disposition).label} needs at least one key."
        yield _problem(path_text(base), "keys_missing", message, hint="Choose the fields that identify a row.")
    for index, key in enumerate(target.keys):
        path = path_text([*base, index])
        if key in target.keys[:index]:
            yield _problem(path, "duplicate_key", f"The key {key!r} is there twice.")
        elif key not in mapped:
            yield _problem(path, "key_not_mapped", f"The key {key!r} is not a mapped field.")
        elif mapped[key][1].nullable:
            place = path_text(["nodes", definition.index_of("map"), "config", "fields", mapped[key][0], "nullable"])
            message = f"The key {key!r} may be empty."
            yield _problem(place, "key_nullable", message, hint="Mark the field as required.")


def _load(definition: FlowDefinition) -> Iterator[Problem]:
    load, target = definition.load, definition.target
    if load.mode == LoadMode.INCREMENTAL:
        if not load.cursor:
            message = "An incremental load needs a cursor: a source column that grows with every change."
            yield _problem("load.cursor", "cursor_missing", message)
        if target.disposition == Disposition.REPLACE:
            message = (
                "An incremental load reads only changes; replacing the whole entity with them would lose the rest."
            )
            path = path_text(["nodes", definition.index_of("target"), "config", "disposition"])
            yield _problem(path, "replace_by_changes", message, hint="Use upsert, append or scd2.")
        if target.disposition == Disposition.APPEND and load.lookback_s:
            message = "With a look-back, rows are read again and would be appended twice."
            yield _problem("load.lookback_s", "append_lookback", message, hint="Use upsert, or no look-back.")
    same = (definition.source.connection, definition.source.entity) == (target.connection, target.entity)
    if same:
        path = path_text(["nodes", definition.index_of("target"), "config", "entity"])
        yield _problem(path, "same_entity", "The target is the source itself.")


def _names(definition: FlowDefinition) -> Iterator[Problem]:
    for path, names in (
        ("contract.fields", [field.name for field in definition.contract.fields]),
        ("reconciliation.controls", [control.name for control in definition.reconciliation.controls]),
    ):
        for index, name in enumerate(names):
            if name in names[:index]:
                yield _problem(f"{path}[{index}].name", "duplicate_name", f"{name!r} is there twice.")


def _problem(path: str, code: str, message: str, *, hint: str | None = None) -> Problem:
    return Problem(path=path, code=f"integrations.{code}", message=message, hint=hint)
