"""A run's pinned definition, parsed once a process: checking its JSON against the schema takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.engine.contracts import canonical_hash
from apps.integrations.contracts import FlowDefinition

KEPT = 64
_parsed: dict[str, FlowDefinition] = {}


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
