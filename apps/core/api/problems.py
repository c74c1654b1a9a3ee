"""Every API error as an RFC 9457 problem document (`application/problem+json`) with a stable code."""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig
from django.db import connection
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.core.exceptions import PortalError, Problem, TooLarge

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
SHOWN_VALUE_CHARS = 200

TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid input",
    429: "Too many requests",
    500: "Internal error",
    503: "Temporarily unavailable",
}


def problem_document(error: PortalError, *, instance: str = "") -> dict[str, Any]:
    """A `PortalError` as the body of a problem response."""
    document: dict[str, Any] = {
        "type": f"urn:portal:problem:{error.code}",
        "title": TITLES.get(error.status, "Error"),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "instance": instance,
    }
    if error.field is not None:
        document["field"] = error.field
    if error.value is not None:
        document["value"] = str(error.value)[:SHOWN_VALUE_CHARS]
    if error.remedy:
        document["remedy"] = error.remedy
    if error.problems:
        document["problems"] = [problem.to_json() for problem in error.problems]
    if error.facts:
        document["facts"] = {name: str(value) for name, value in error.facts.items()}
    return document


def handle_exception(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's `EXCEPTION_HANDLER`: maps portal, DRF and Django errors to problem documents."""
    request = context.get("request")
    instance = request.get_full_path() if request is not None else ""
    headers: dict[str, str] = {}
    if isinstance(exc, Http404):
        exc = drf.NotFound()
    elif isinstance(exc, DjangoPermissionDenied):
        exc = drf.PermissionDenied()
    elif isinstance(exc, RequestDataTooBig):
        exc = TooLarge("The body is larger than the API takes.", limit_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    if isinstance(exc, PortalError):
        document = problem_document(exc, instance=instance)
        if wait_s := exc.facts.get("retry_after_s"):
            headers["Retry-After"] = str(wait_s)
        if exc.status >= 500:
            log.warning(
                "request_failed", code=exc.code, detail=exc.message, **{k: str(v) for k, v in exc.facts.items()}
            )
    elif isinstance(exc, drf.APIException):
        document = _from_drf(exc, instance)
        if auth_header := getattr(exc, "auth_header", None):
            headers["WWW-Authenticate"] = auth_header
        if wait_s := getattr(exc, "wait", None):
            headers["Retry-After"] = str(int(wait_s))
    else:
        return None
    if connection.in_atomic_block:
        set_rollback()
    return Response(document, status=document["status"], headers=headers, content_type=CONTENT_TYPE)


def _from_drf(exc: drf.APIException, instance: str) -> dict[str, Any]:
    status = 422 if isinstance(exc, drf.ValidationError) else exc.status_code
    document: dict[str, Any] = {
        "type": f"urn:portal:problem:core.{_drf_code(exc)}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": "The input has problems." if isinstance(exc, drf.ValidationError) else str(exc.detail),
        "code": f"core.{_drf_code(exc)}",
        "instance": instance,
    }
    if isinstance(exc, drf.ValidationError):
        problems = list(_flatten(exc.get_full_details()))
        document["problems"] = [problem.to_json() for problem in problems]
        if problems:
            document["field"] = problems[0].path
            document["detail"] = (
                f"{problems[0].path}: {problems[0].message}" if problems[0].path else problems[0].message
            )
    return document


def _drf_code(exc: drf.APIException) -> str:
    return "invalid" if isinstance(exc, drf.ValidationError) else exc.default_code


def _flatten(details: Any, path: str = "") -> list[Problem]:
    if (
        isinstance(details, dict)
        and set(details) == {"message", "code"}
        and not isinstance(details["message"], dict | list)
    ):
        return [Problem(path=path, code=f"core.{details['code']}", message=str(details["message"]))]
    found: list[Problem] = []
    if isinstance(details, dict):
        for name, inner in details.items():
            if isinstance(name, int):
                inner_path = f"{path}[{name}]"
            else:
                inner_path = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            found += _flatten(inner, inner_path)
    elif isinstance(details, list):
        leaf = all(isinstance(inner, dict) and "message" in inner and "code" in inner for inner in details)
        for index, inner in enumerate(details):
            found += _flatten(inner, path if leaf else f"{path}[{index}]")
    return found


def plain_problem(request: HttpRequest, error: PortalError) -> JsonResponse:
    """A problem document for what fails before or outside a view: an unknown address, a missing form token."""
    document = problem_document(error, instance=request.get_full_path())
    return JsonResponse(document, status=error.status, content_type=CONTENT_TYPE)


def server_error(request: HttpRequest, *_args: object) -> JsonResponse:
    """Handler for unexpected faults below `/api/`: a problem document that gives nothing away."""
    request_id = getattr(request, "request_id", "")
    document = {
        "type": "urn:portal:problem:core.internal",
        "title": TITLES[500],
        "status": 500,
        "detail": "The portal hit an unexpected fault. It was logged.",
        "code": "core.internal",
        "instance": request.get_full_path(),
        "remedy": f"Try again; if it persists, give your administrator the request id {request_id}.",
    }
    return JsonResponse(document, status=500, content_type=CONTENT_TYPE)
