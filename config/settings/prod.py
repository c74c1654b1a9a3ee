"""Production: HTTPS only, hashed static files, and no start with a missing, short or default key."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from config.settings import env
from config.settings.base import *
from config.settings.base import ALLOWED_HOSTS, SECRET_KEY, VAULT_KEYS

MIN_SECRET_CHARS = 50


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ImproperlyConfigured(message)


_require(SECRET_KEY, "SECRET_KEY is missing. Set it to at least 50 random characters.")
_require(
    len(SECRET_KEY) >= MIN_SECRET_CHARS and len(set(SECRET_KEY)) >= 10,
    f"SECRET_KEY is too short or too regular. Set it to at least {MIN_SECRET_CHARS} random characters.",
)
_require(not SECRET_KEY.startswith("dev-only-"), "SECRET_KEY is the development key. Set a random one.")
_require(VAULT_KEYS, "VAULT_KEYS is missing. Set it to `id:base64 of 32 random bytes`.")
_require("dev" not in VAULT_KEYS, "VAULT_KEYS holds the development key. Set a random one under another id.")
_require(env.DATABASE_URL, "DATABASE_URL is missing. Set it to postgres://user:password@host:5432/database.")
_require(ALLOWED_HOSTS, "ALLOWED_HOSTS is missing. Set it to the domains that browsers use, comma-separated.")
_require("*" not in ALLOWED_HOSTS, "ALLOWED_HOSTS must not contain '*'. Name the domains.")

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "apps.portal.static_files.PortalStaticFilesStorage"},
}
SECURE_SSL_REDIRECT = env.env.bool("SECURE_SSL_REDIRECT", True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.env.bool("BEHIND_TLS_PROXY", True) else None
SECURE_HSTS_SECONDS = env.env.int("SECURE_HSTS_SECONDS", 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-portal_session"
CSRF_COOKIE_NAME = "__Host-portal_csrf"
