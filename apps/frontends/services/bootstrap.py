"""What the shell needs to know before its first request."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.urls import reverse

from apps.access.services.http import actor_of
from apps.frontends.contracts import Build, Remote
from apps.tenancy.services.context import require_tenant

API_URL = "/api/v2"
LIVE_URL = "/ws/live"


def list_visible_remotes(build: Build, permissions: frozenset[str]) -> list[Remote]:
    """Remotes that somebody with these permissions may open.

    A convenience for the navigation only: the API checks every request again.
    """
    return [
        remote for remote in build.remotes if not remote.permissions or permissions.intersection(remote.permissions)
    ]


def list_withheld_areas(build: Build, permissions: frozenset[str]) -> list[dict[str, Any]]:
    """Names and routes of the other remotes, so that their addresses are refused instead of called mistyped."""
    visible = list_visible_remotes(build, permissions)
    return [{"name": remote.name, "routes": list(remote.routes)} for remote in build.remotes if remote not in visible]


def build_bootstrap(request: HttpRequest, build: Build) -> dict[str, Any]:
    """The JSON beside the import map: who, where, what they may do and which remotes they see.

    Raises:
        TenantContextMissing: the request came by the platform's own host.
        PermissionDenied: nobody is signed in.
    """
    tenant = require_tenant()
    actor = actor_of(request)
    user: Any = request.user
    return {
        "tenant": {"id": str(tenant.id), "slug": tenant.slug, "name": tenant.name},
        "user": {
            "id": str(user.id),
            "email": user.email,
            "name": user.name,
            "timezone": user.timezone,
            "locale": user.locale,
            "theme": user.theme,
        },
        "permissions": sorted(actor.permissions),
        "remotes": [remote.to_json() for remote in list_visible_remotes(build, actor.permissions)],
        "withheld": list_withheld_areas(build, actor.permissions),
        "csrfToken": get_token(request),
        "apiUrl": API_URL,
        "liveUrl": LIVE_URL,
        "loginUrl": reverse("account_login"),
        "logoutUrl": reverse("account_logout"),
        "securityUrl": reverse("mfa_index"),
        "release": build.release,
    }
