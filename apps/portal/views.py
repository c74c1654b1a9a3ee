"""Pages that belong to no single app: the way in, and the error pages. Below `/api/` errors are problem documents."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from apps.core.api import problems
from apps.core.exceptions import BadRequest, NotFound, PermissionDenied, PortalError

API_PREFIX = "/api/"


def home(request: HttpRequest) -> HttpResponse:
    """A tenant's front door: the overview, or the log-in page."""
    return redirect("/overview" if request.user.is_authenticated else "account_login")


def platform_home(request: HttpRequest) -> HttpResponse:
    """The platform's front door: where staff sign in, and where a tenant's people are told to go."""
    return render(request, "portal/platform_home.html")


def _answer(request: HttpRequest, error: PortalError, title: str) -> HttpResponseBase:
    if request.path.startswith(API_PREFIX):
        return problems.plain_problem(request, error)
    context = {
        "status": error.status,
        "title": title,
        "message": error.message,
        "request_id": getattr(request, "request_id", ""),
    }
    return render(request, "portal/error.html", context, status=error.status)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    """404."""
    error = NotFound("Nothing lives at this address. It may have moved or been deleted.")
    return _answer(request, error, "Page not found")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    """403."""
    return _answer(
        request, PermissionDenied("Your roles do not include this page. Ask an administrator."), "Not allowed"
    )


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    """400."""
    return _answer(request, BadRequest(), "Bad request")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """403 for a form whose protection token is missing or old."""
    error = PermissionDenied("Go back, reload the page and send it again. Cookies must be allowed.")
    return _answer(request, error, "This form has expired")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500: the cause is in the log, under the request's id."""
    if request.path.startswith(API_PREFIX):
        return problems.server_error(request)
    return _answer(request, PortalError("The fault was logged. Try again in a moment."), "Something went wrong")
