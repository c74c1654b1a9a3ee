"""HTTP side of access: who is asking, what they may read and write, and how often."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.access.models import ApiKey, User
from apps.access.registries import permissions
from apps.access.services.api_keys import authenticate_api_key
from apps.access.services.permissions import check_permission
from apps.tenancy.contracts import current_scope
from apps.tenancy.services.cache_keys import throttle_key

__all__ = ["ActorThrottle", "ApiKeyAuthentication", "HasPermission", "TenantThrottle", "actor_for_user", "actor_of"]

SCHEME = b"bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer aip_<prefix>_<secret>`.

    A request that brings a bearer token is judged by it alone: a bad key never falls through to the session cookie.
    Keys live in the tenant's schema, so a key sent to another tenant's host is simply unknown there.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """The key's creator and the key, or None when there is no bearer token.

        Raises:
            AuthenticationFailed: unknown, revoked or expired key, or an inactive creator.
        """
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != SCHEME:
            return None
        token = parts[1].decode("ascii", "replace") if len(parts) == 2 else ""
        found = authenticate_api_key(token) if not current_scope.get().is_public else None
        if found is None:
            raise exceptions.AuthenticationFailed("This API key is unknown, revoked or expired.")
        key, actor = found
        request._actor = actor  # type: ignore[attr-defined]
        return key.created_by, key

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401 instead of 403."""
        return "Bearer"


def actor_for_user(user: User) -> Actor:
    """The actor that a signed-in person is; the platform's staff may do everything on the platform's host."""
    everything = current_scope.get().is_public and user.is_platform_staff
    held = permissions.codes() if everything else user.permission_codes
    return Actor(kind="user", id=user.id, name=user.email, permissions=held, user_id=user.id)


def actor_of(request: Any) -> Actor:
    """The actor behind a request (DRF or Django); its permissions are read once per request.

    Raises:
        PermissionDenied: nobody is signed in.
    """
    user = request.user  # DRF authenticates here, which sets `_actor` for a key
    actor = getattr(request, "_actor", None)
    if actor is None:
        if isinstance(user, AnonymousUser) or not user.is_authenticated:
            raise PermissionDenied("Sign in first.")
        actor = actor_for_user(user)
        request._actor = actor
    return actor


class HasPermission(BasePermission):
    """DRF permission by codes: `permission_classes = [HasPermission.of(read="flow:view", write="flow:edit")]`."""

    read: str | None = None
    write: str | None = None

    @classmethod
    def of(cls, *, read: str | None = None, write: str | None = None) -> type[HasPermission]:
        """A permission class for these codes.

        Args:
            read: needed for GET, HEAD and OPTIONS; None lets every signed-in actor read.
            write: needed for the other methods; None leaves the check to the service.
        """
        return type("HasPermission", (cls,), {"read": read, "write": write, "__doc__": cls.__doc__})

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the actor holds the code of the request's method.

        Raises:
            PermissionDenied: signed in, but without it.
        """
        if not request.user or not request.user.is_authenticated:
            return False
        code = self.read if request.method in SAFE_METHODS else self.write
        if code is not None:
            check_permission(actor_of(request), code)
        return True


class ActorThrottle(SimpleRateThrottle):
    """Requests of one key or person, within one tenant; anonymous callers are counted by address."""

    scope = "actor"

    def get_cache_key(self, request: Request, view: Any) -> str:
        """Key of this caller's counter; `make_key` puts the tenant before it."""
        if isinstance(request.auth, ApiKey):
            return throttle_key("key", request.auth.pk)
        if request.user and request.user.is_authenticated:
            return throttle_key("user", request.user.pk)
        return throttle_key("address", self.get_ident(request))


class TenantThrottle(SimpleRateThrottle):
    """Requests of one tenant together, so that none can take the portal from the others."""

    scope = "tenant"

    def get_cache_key(self, request: Request, view: Any) -> str:
        """One counter per schema; `make_key` puts the tenant before it."""
        return throttle_key("tenant", "all")
