"""Identity of a definition: a hash over what changes its behaviour, and nothing else."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

from apps.integrations.contracts import FlowDefinition


def behaviour_of(definition: FlowDefinition) -> dict[str, Any]:
    """The definition in canonical form, without what only people read.

    Left out: names, notes and positions of nodes, descriptions of fields. Order of nodes and edges does not count;
    order of fields and validations does, because columns are made and messages shown in that order. Decimals that are
    equal are written equally.
    """
    data = definition.to_json()
    for node in data["nodes"]:
        for name in ("name", "notes", "position"):
            del node[name]
        for field in node["config"].get("fields", ()):
            del field["description"]
            field["type"] = " ".join(field["type"].upper().split())
    data["nodes"].sort(key=lambda node: node["id"])
    data["edges"].sort(key=lambda edge: (edge["from"], edge["to"]))
    for control in data["reconciliation"]["controls"]:
        control["tolerance"] = _plain(control["tolerance"])
    share = data["limits"]["max_reject_share"]
    data["limits"]["max_reject_share"] = None if share is None else _plain(share)
    return data


def content_hash(definition: FlowDefinition) -> str:
    """SHA-256 (hex) of the canonical JSON (sorted keys, no spaces, UTF-8) of `behaviour_of`."""
    text = json.dumps(behaviour_of(definition), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(text: str) -> str:
    number = Decimal(text)
    return "0" if not number else format(number.normalize(), "f")
