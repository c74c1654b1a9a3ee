"""What every operation of the API has in common, added to the OpenAPI document once: its errors."""

from __future__ import annotations

from typing import Any

PROBLEM_TYPE = "application/problem+json"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "An error (RFC 9457). `code` is stable; `detail` and `remedy` are for people.",
    "required": ["type", "title", "status", "detail", "code", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "example": "integrations.draft_conflict"},
        "instance": {"type": "string"},
        "field": {"type": "string", "description": "Input field at fault."},
        "value": {"type": "string", "description": "The refused value, shortened."},
        "remedy": {"type": "string", "description": "What to do next."},
        "problems": {
            "type": "array",
            "description": "Every finding, when there is more than one place.",
            "items": {
                "type": "object",
                "required": ["path", "code", "message"],
                "properties": {
                    "path": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "severity": {"type": "string", "enum": ["error", "warning"]},
                    "start": {"type": "integer", "description": "First character of the value at fault."},
                    "end": {"type": "integer"},
                    "hint": {"type": "string"},
                },
            },
        },
        "facts": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
METHODS = {"get", "post", "put", "patch", "delete"}


def add_problem_responses(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's post-processing hook: every operation may answer with a problem document."""
    del generator, request, public
    result.setdefault("components", {}).setdefault("schemas", {})["ProblemDocument"] = PROBLEM
    answer = {
        "description": "A problem document says what is wrong and what to do.",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
    for operations in result.get("paths", {}).values():
        for method, operation in operations.items():
            if method in METHODS:
                operation["responses"].setdefault("default", answer)
    return result
