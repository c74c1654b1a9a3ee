"""Pages that belong to no single app: the way in, and the error pages."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from apps.core.api import problems
from apps.core.exceptions import PortalError

API_PREFIX = "/api/"


def home(request: HttpRequest) -> HttpResponse:
    """A tenant's front door: the overview, or the log-in page."""
    return redirect("/overview" if request.user.is_authenticated else "account_login")


def platform_home(request: HttpRequest) -> HttpResponse:
    """The platform's front door: where staff sign in, and where a tenant's people are told to go."""
    return render(request, "portal/platform_home.html")


def _error_page(request: HttpRequest, status: int, title: str, message: str) -> HttpResponse:
    context = {"status": status, "title": title, "message": message, "request_id": getattr(request, "request_id", "")}
    return render(request, "portal/error.html", context, status=status)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404 as a page."""
    return _error_page(
        request, 404, "Page not found", "Nothing lives at this address. It may have moved or been deleted."
    )


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403 as a page."""
    return _error_page(request, 403, "Not allowed", "Your roles do not include this page. Ask an administrator.")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400 as a page."""
    return _error_page(request, 400, "Bad request", "The browser sent something that the portal could not read.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form whose protection token is missing or old."""
    return _error_page(
        request, 403, "This form has expired", "Go back, reload the page and send it again. Cookies must be allowed."
    )


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500: a problem document below `/api/`, a page elsewhere."""
    if request.path.startswith(API_PREFIX):
        return problems.server_error(request)
    return _error_page(request, 500, "Something went wrong", "The fault was logged. Try again in a moment.")


def portal_error_page(request: HttpRequest, error: PortalError) -> HttpResponse:
    """A `PortalError` raised by a server-rendered page."""
    return _error_page(request, error.status, problems.TITLES.get(error.status, "Error"), error.message)
