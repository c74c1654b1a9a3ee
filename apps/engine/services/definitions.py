"""A run's pinned definition, parsed once a process: checking its JSON against the schema takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from apps.engine.contracts import RunFacts, canonical_hash
from apps.integrations.contracts import Definition, FlowDefinition
from apps.integrations.process_contracts import ProcessDefinition

KEPT = 64
_parsed: dict[str, FlowDefinition] = {}
_processes: dict[str, ProcessDefinition] = {}
_pinned: dict[UUID, tuple[dict[str, Any], str]] = {}


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


def pin_definition(definition: Definition, version_id: UUID | None) -> tuple[dict[str, Any], str]:
    """JSON of a definition and its hash, for a run to carry; of a published version, which never changes, made once."""
    found = None if version_id is None else _pinned.get(version_id)
    if found is None:
        document = definition.to_json()
        found = (document, canonical_hash(document))
        if version_id is not None:
            if len(_pinned) >= KEPT:
                _pinned.clear()
            _pinned[version_id] = found
    return found
