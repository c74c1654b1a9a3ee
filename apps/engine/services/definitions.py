"""A run's pinned definition, parsed once a process: checking its JSON against the schema takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.engine.contracts import RunFacts, canonical_hash
from apps.integrations.contracts import FlowDefinition
from apps.integrations.process_contracts import ProcessDefinition

KEPT = 64
_parsed: dict[str, FlowDefinition] = {}
_processes: dict[str, ProcessDefinition] = {}


def parse_definition(data: Mapping[str, Any]) -> FlowDefinition:
    """The definition of that JSON; the same frozen object for the same content.

    Raises:
        DefinitionInvalid: the shape is wrong.
    """
    key = canonical_hash(data)
    found = _parsed.get(key)
    if found is None:
        found = FlowDefinition.from_json(data)
        if len(_parsed) >= KEPT:
            _parsed.clear()
        _parsed[key] = found
    return found


def parse_process(run: RunFacts) -> ProcessDefinition:
    """The process that a run is pinned to; the same frozen object for the same hash.

    Raises:
        DefinitionInvalid: the shape is wrong.
    """
    key = run.definition_hash or canonical_hash(run.definition)
    found = _processes.get(key)
    if found is None:
        found = ProcessDefinition.from_json(run.definition)
        if len(_processes) >= KEPT:
            _processes.clear()
        _processes[key] = found
    return found
