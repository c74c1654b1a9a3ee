"""Checks a connection's settings against its connector: shape, secrets' names, required secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema

from apps.connectors.contracts import Manifest
from apps.connectors.exceptions import ConfigInvalid
from apps.core.exceptions import Problem

MAX_PROBLEMS = 50


def with_defaults(manifest: Manifest, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the defaults of the connector's top-level properties filled in, in the form's order."""
    found = dict(config)
    for name, schema in manifest.configuration.get("properties", {}).items():
        if "default" in schema and found.get(name) is None:
            found[name] = schema["default"]
    return found


def ensure_config(manifest: Manifest, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, complete and valid.

    Raises:
        ConfigInvalid: one problem per place, with path, reason and remedy.
    """
    complete = with_defaults(manifest, config)
    validator = jsonschema.Draft202012Validator(
        manifest.configuration, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    errors = sorted(validator.iter_errors(complete), key=lambda error: [str(part) for part in error.absolute_path])
    problems = [_problem(error) for error in errors[:MAX_PROBLEMS]]
    if problems:
        first = problems[0]
        raise ConfigInvalid(f"{first.path}: {first.message}", field=first.path, problems=problems, remedy=first.hint)
    return complete


def ensure_secret_names(manifest: Manifest, names: Mapping[str, Any]) -> None:
    """Refuse credentials that the connector does not know.

    Raises:
        ConfigInvalid: names the unknown one and lists those there are.
    """
    unknown = sorted(set(names) - manifest.secret_names)
    if unknown:
        known = ", ".join(sorted(manifest.secret_names)) or "none"
        path = f"secrets.{unknown[0]}"
        problem = Problem(
            path, "connectors.unknown_secret", f"{manifest.name} has no such credential.", hint=f"It has: {known}."
        )
        raise ConfigInvalid(problem.message, field=path, remedy=problem.hint, problems=[problem])


def ensure_required_secrets(manifest: Manifest, present: set[str]) -> None:
    """Refuse a connection that lacks a credential it cannot do without.

    Raises:
        ConfigInvalid: names the missing one.
    """
    for secret in manifest.secrets:
        if secret.required and secret.name not in present:
            path = f"secrets.{secret.name}"
            problem = Problem(path, "connectors.secret_missing", f"{secret.title} is missing.", hint="Enter it.")
            raise ConfigInvalid(problem.message, field=path, remedy="Enter it.", problems=[problem])


def _problem(error: jsonschema.ValidationError) -> Problem:
    path = "config"
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    title = schema.get("title", path.rpartition(".")[2])
    wanted: Any = error.validator_value
    given: Any = error.instance
    if error.validator == "required":
        missing = next(name for name in wanted if name not in given)
        return Problem(f"{path}.{missing}", "connectors.setting_missing", f"{missing} is missing.", hint="Fill it in.")
    if error.validator == "additionalProperties":
        extra = sorted(set(given) - set(schema.get("properties", {})))
        known = ", ".join(schema.get("properties", {}))
        return Problem(
            f"{path}.{extra[0]}" if extra else path,
            "connectors.unknown_setting",
            f"There is no setting {extra[0]!r}." if extra else error.message,
            hint=f"Known settings: {known}.",
        )
    if error.validator == "enum":
        allowed = ", ".join(str(value) for value in wanted)
        return Problem(path, "connectors.setting_invalid", f"{title} cannot be {given!r}.", hint=f"One of: {allowed}.")
    return Problem(
        path, "connectors.setting_invalid", f"{title}: {error.message[:300]}", hint=schema.get("description")
    )
