"""The one module that reads the environment. Every variable the portal knows is named here."""

from __future__ import annotations

from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parents[2]
env = environ.Env()


def csv(name: str, default: str = "") -> list[str]:
    """A comma-separated variable as a list without empty items."""
    return [item.strip() for item in env.str(name, default).split(",") if item.strip()]


SECRET_KEY = env.str("SECRET_KEY", "")
VAULT_KEYS = env.str("VAULT_KEYS", "")
"""`id:base64-of-32-bytes` items, comma-separated; the first one wraps new data keys."""

DATABASE_URL = env.str("DATABASE_URL", "")
WAREHOUSE_URL = env.str("WAREHOUSE_URL", DATABASE_URL)
BROKER_URL = env.str("BROKER_URL", "redis://127.0.0.1:6379/0")
CHANNEL_URL = env.str("CHANNEL_URL", "redis://127.0.0.1:6379/1")
CACHE_URL = env.str("CACHE_URL", "redis://127.0.0.1:6379/2")
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", 0)

ALLOWED_HOSTS = csv("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = csv("CSRF_TRUSTED_ORIGINS")
BASE_DOMAIN = env.str("BASE_DOMAIN", "localhost")
"""Tenants without a custom domain live at `<slug>.<BASE_DOMAIN>`; the platform's own site at BASE_DOMAIN."""
PUBLIC_PORT = env.int("PUBLIC_PORT", 0)
"""Port that browsers use, when it is not the scheme's default; only for addresses in mails and logs."""

TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", 0)
"""How many proxies of your own stand before the web process and add to X-Forwarded-For. Limits per address count the
address before them; with too high a number clients could make addresses up."""

EMAIL_URL = env.str("EMAIL_URL", "consolemail://")
EMAIL_FROM = env.str("EMAIL_FROM", "Analytics Integration Portal <portal@localhost>")

MAIL_SENDERS = csv("MAIL_SENDERS")
"""Further addresses that processes may send mail from; EMAIL_FROM always is one."""

FILES_ROOT = Path(env.str("FILES_ROOT", str(BASE_DIR / ".run" / "files")))
SPILL_ROOT = Path(env.str("SPILL_ROOT", str(BASE_DIR / ".run" / "spill")))
UPLOAD_MAX_BYTES = env.int("UPLOAD_MAX_BYTES", 2 * 1024**3 - 1)
EGRESS_ALLOW_PRIVATE = csv("EGRESS_ALLOW_PRIVATE")
"""Private targets that connections may reach: `host-or-CIDR:port` or `host-or-CIDR:*` items."""

AUDIT_ANCHOR_FILE = env.str("AUDIT_ANCHOR_FILE", str(BASE_DIR / ".run" / "audit-anchors.ndjson"))
"""Where the heads of the audit chains are noted every five minutes; keep it away from the database."""
QUALITY_RETENTION_DAYS = env.int("QUALITY_RETENTION_DAYS", 400)
EVENTS_RETENTION_DAYS = env.int("EVENTS_RETENTION_DAYS", 90)
WEBHOOK_LIMITS = env.json("WEBHOOK_LIMITS", {})
"""Overrides of how many webhooks are taken, as JSON, e.g. `{"tenant_per_s": 500}` (see apps/events/README.md)."""

LOG_FORMAT = env.str("LOG_FORMAT", "console")
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
ENGINE = env.json("ENGINE", {})
"""Overrides of the engine's defaults as JSON, e.g. `{"lease_s": 3}` (see apps/engine/README.md)."""
