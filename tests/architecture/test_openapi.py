"""The OpenAPI document is complete, valid and without warnings, and says how errors look."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from tests.architecture.test_tenant_isolation import ROUTES

UNDOCUMENTED = {"api/v2/schemas/flow-1.json"}  # a JSON Schema, which is its own description


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    GENERATOR_STATS.reset()
    found: dict[str, Any] = SchemaGenerator(urlconf="config.urls").get_schema(request=None, public=True)
    warnings = [message for group in (GENERATOR_STATS._warn_cache, GENERATOR_STATS._error_cache) for message in group]
    assert not warnings, "\n".join(map(str, warnings))
    return found


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate_schema(document)


def test_every_route_and_method_is_described(document: dict[str, Any]) -> None:
    missing = []
    for route in ROUTES:
        path = "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route.pattern)
        described = document["paths"].get(path, {})
        missing += [f"{method} {path}" for method in route.methods if method not in described]
    assert [one for one in missing if one.split("/", 1)[1] not in UNDOCUMENTED] == []


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_every_operation_says_how_its_errors_look(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation["responses"]["default"]["content"]
            assert list(content) == ["application/problem+json"], f"{method} {path}"


@pytest.mark.django_db
def test_every_list_is_paged(document: dict[str, Any], acme: Any, api_for: Callable[..., Any]) -> None:
    """A list without a limit is a fault that shows only in the largest tenant."""
    # Bounded by the code (what is installed) or by one definition (the columns of a version, the three environments).
    whole = {
        "/api/v2/connectors",
        "/api/v2/permissions",
        "/api/v2/expressions/functions",
        "/api/v2/event-types",
        "/api/v2/environments",
        "/api/v2/flows/{flow_id}/versions/{number}/lineage",
    }
    unpaged = []
    for path, operations in document["paths"].items():
        operation = operations.get("get")
        if operation is None or path in whole:
            continue
        schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        properties = document["components"]["schemas"].get(name, {}).get("properties", {})
        if "results" in properties:
            names = {parameter["name"] for parameter in operation.get("parameters", [])}
            if "limit" not in names:
                unpaged.append(path)
        elif schema.get("type") == "array":
            unpaged.append(path)
    assert unpaged == []
