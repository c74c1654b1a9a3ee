"""Identity of a definition: a hash over what changes its behaviour, and nothing else."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

from apps.integrations.contracts import Definition
from apps.integrations.process_contracts import ProcessDefinition


def behaviour_of(definition: Definition) -> dict[str, Any]:
    """The definition in canonical form, without what only people read.

    Left out: names, notes and positions of nodes, descriptions of fields. Order of nodes and edges does not count;
    order of fields and validations does, because columns are made and messages shown in that order. Decimals that are
    equal are written equally.
    """
    data = definition.to_json()
    if isinstance(definition, ProcessDefinition):
        _strip_steps(data["steps"])
        for field in data["input"] or ():
            del field["description"]
        return data
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


def _strip_steps(value: Any) -> None:
    """Names and notes of steps, wherever a list of steps stands."""
    for step in value:
        del step["name"], step["notes"]
        _strip_steps(step["error_steps"])
        _strip_steps(step["compensation"])
        if not step["compensation"]:
            del step["compensation"]  # versions from before there were compensations keep their hash
        config = step["config"]
        for body in (*config.get("cases", ()), *config.get("branches", ())):
            if "steps" in body:
                _strip_steps(body["steps"])
        _strip_steps(config.get("default", ()) if step["kind"] == "branch" else ())
        _strip_steps(config.get("steps", ()) if step["kind"] in ("foreach", "while") else ())


def content_hash(definition: Definition) -> str:
    """SHA-256 (hex) of the canonical JSON (sorted keys, no spaces, UTF-8) of `behaviour_of`."""
    text = json.dumps(behaviour_of(definition), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(text: str) -> str:
    number = Decimal(text)
    return "0" if not number else format(number.normalize(), "f")
