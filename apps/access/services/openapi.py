"""How API keys appear in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

__all__ = ["ApiKeyScheme"]


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Bearer scheme of `apps.access.services.http.ApiKeyAuthentication`."""

    target_class = "apps.access.services.http.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """The scheme object."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "aip_<prefix>_<secret>",
            "description": "An API key made under Settings, API keys. It works on its own tenant's host only.",
        }
