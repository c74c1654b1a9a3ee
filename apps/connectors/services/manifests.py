"""Reads the catalog: one folder a connector, each with a `manifest.json` that is checked before it is trusted."""

from __future__ import annotations

import importlib
import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from apps.connectors import catalog
from apps.connectors.base import ConnectorBase, ConnectorType
from apps.connectors.choices import Disposition
from apps.connectors.contracts import Capabilities, Manifest, SecretField
from apps.connectors.exceptions import ManifestInvalid

CATALOG_ROOT = Path(catalog.__file__).parent
SCHEMA_FILE = Path(__file__).parents[1] / "schemas" / "manifest-1.json"


@cache
def manifest_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a `manifest.json`."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def build_manifest(data: dict[str, Any]) -> Manifest:
    """A manifest from its JSON form.

    Raises:
        ManifestInvalid: it breaks the schema, or its `configuration` is no JSON Schema.
    """
    errors = sorted(
        jsonschema.Draft202012Validator(manifest_schema()).iter_errors(data), key=lambda error: error.json_path
    )
    if errors:
        raise ManifestInvalid(f"{errors[0].json_path}: {errors[0].message}", field=errors[0].json_path)
    try:
        jsonschema.Draft202012Validator.check_schema(data["configuration"])
    except jsonschema.SchemaError as error:
        raise ManifestInvalid(f"$.configuration: {error.message}", field="configuration") from None
    capabilities = dict(data.get("capabilities", {}))
    capabilities["dispositions"] = tuple(Disposition(name) for name in capabilities.get("dispositions", ()))
    return Manifest(
        id=data["id"],
        name=data["name"],
        version=data["version"],
        description=data["description"],
        author=data["author"],
        license=data["license"],
        type=data["type"],
        main=data["main"],
        icon=data["icon"],
        supported_operations=tuple(data["supportedOperations"]),
        authentication=data["authentication"],
        configuration=data["configuration"],
        secrets=tuple(SecretField(**secret) for secret in data.get("secrets", [])),
        capabilities=Capabilities(**capabilities),
        rate_budget=data.get("rateBudget", {}),
    )


def load_catalog() -> list[ConnectorType]:
    """Every connector of the catalog folder, by folder name.

    Raises:
        ManifestInvalid: a manifest is broken, or its module has not exactly one connector class.
    """
    return [load_connector(folder) for folder in sorted(CATALOG_ROOT.iterdir()) if (folder / "manifest.json").is_file()]


def load_connector(folder: Path) -> ConnectorType:
    """One connector of the catalog.

    Raises:
        ManifestInvalid: see `load_catalog`.
    """
    manifest = build_manifest(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    module = importlib.import_module(f"{catalog.__name__}.{folder.name}.{Path(manifest.main).stem}")
    classes = {
        member
        for _name, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, ConnectorBase) and member.__module__ == module.__name__ and not inspect.isabstract(member)
    }
    if len(classes) != 1:
        raise ManifestInvalid(f"{folder.name}/{manifest.main} has {len(classes)} connector classes, not one.")
    return ConnectorType(manifest, classes.pop())


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """A manifest as the REST API shows it."""
    return {
        "id": manifest.id,
        "name": manifest.name,
        "version": manifest.version,
        "type": manifest.type,
        "description": manifest.description,
        "icon": manifest.icon,
        "supported_operations": list(manifest.supported_operations),
        "authentication": {
            "methods": manifest.authentication.get("methods", []),
            "default_method": manifest.authentication.get("defaultMethod"),
        },
        "configuration": manifest.configuration,
        "secrets": [
            {"name": one.name, "title": one.title, "description": one.description, "required": one.required}
            for one in manifest.secrets
        ],
        "capabilities": manifest.capabilities.to_json(),
    }
