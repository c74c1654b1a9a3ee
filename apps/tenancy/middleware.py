"""Each request in the scope of the tenant that its host names, exactly once, before anything reads the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.middleware.security import SecurityMiddleware
from django.template.loader import render_to_string

from apps.core.api.problems import plain_problem
from apps.core.exceptions import PortalError
from apps.tenancy.exceptions import UnknownHost
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import public_context, tenant_context
from apps.tenancy.services.hosts import resolve_host


class TenantHttpRequest(HttpRequest):
    """A request that has passed the middleware; for type checking."""

    tenant: Tenant | None


class TenantMiddleware:
    """Sets `request.tenant` (None on the platform's host), the URL configuration and the tenant scope."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: TenantHttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.__acall__(request)
        refusal = self._enter(request)
        if refusal is not None:
            return refusal
        with _scope_of(request.tenant), _log_fields(request.tenant):
            return self._leave(request, self.get_response(request))

    async def __acall__(self, request: TenantHttpRequest) -> HttpResponseBase:
        """The same under ASGI; the scope follows the request into its threads."""
        refusal = await sync_to_async(self._enter)(request)
        if refusal is not None:
            return refusal
        with _scope_of(request.tenant), _log_fields(request.tenant):
            return self._leave(request, await self.get_response(request))

    @staticmethod
    def _enter(request: TenantHttpRequest) -> HttpResponseBase | None:
        host = request._get_raw_host()  # type: ignore[attr-defined]
        try:
            request.tenant = resolve_host(host)
            if request.tenant is None:
                request.get_host()  # the platform's own names are checked against ALLOWED_HOSTS
        except DisallowedHost:
            return _refuse(request, UnknownHost())
        except PortalError as error:
            return _refuse(request, error)
        if request.tenant is None:
            request.urlconf = settings.PUBLIC_SCHEMA_URLCONF
        else:
            # The domain table, matched exactly, is the list of allowed hosts: a custom domain works as soon as it is
            # added, without a change of settings and a restart.
            request.get_host = lambda: host  # type: ignore[method-assign]
        return None

    @staticmethod
    def _leave(request: TenantHttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        # A streamed body is read after this middleware has left the scope.
        if isinstance(response, StreamingHttpResponse) and request.tenant is not None:
            content: Any = response.streaming_content
            wrap: Any = _astream if response.is_async else _stream
            response.streaming_content = wrap(request.tenant, content)
        return response


def _scope_of(tenant: Tenant | None) -> AbstractContextManager[Any]:
    return public_context() if tenant is None else tenant_context(tenant)


def _log_fields(tenant: Tenant | None) -> AbstractContextManager[Any]:
    return structlog.contextvars.bound_contextvars(tenant="public" if tenant is None else tenant.slug)


def _stream(tenant: Tenant, content: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        with tenant_context(tenant):
            try:
                chunk = next(content)
            except StopIteration:
                return
        yield chunk


async def _astream(tenant: Tenant, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        with tenant_context(tenant):
            try:
                chunk = await anext(content)
            except StopAsyncIteration:
                return
        yield chunk


def _refuse(request: HttpRequest, error: PortalError) -> HttpResponseBase:
    if request.path.startswith("/api/"):
        response: HttpResponse = plain_problem(request, error)
    else:
        response = HttpResponse(render_to_string("tenancy/refused.html", {"error": error}), status=error.status)
    if error.status == 503:
        response.headers["Retry-After"] = "10"
    # The middleware that sets these headers stands behind this one, which does not call it.
    return SecurityMiddleware(lambda _request: response).process_response(request, response)
