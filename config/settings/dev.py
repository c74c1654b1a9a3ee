"""`make run`: one machine, plain HTTP, tenants at `<slug>.localhost`."""

from config.settings.base import *
from config.settings.base import ALLOWED_HOSTS, EGRESS_ALLOW_PRIVATE, SECRET_KEY, VAULT_KEYS

DEBUG = False
DEMO_ALLOWED = True
# A developer's `manage.py` outside `make run` gets fixed keys; production refuses exactly these (settings/prod.py).
SECRET_KEY = SECRET_KEY or "dev-only-secret-key-that-production-refuses-0123456789"
VAULT_KEYS = VAULT_KEYS or {"dev": "ZGV2LW9ubHktdmF1bHQta2V5LW9mLTMyLWJ5dGVzISE="}
ALLOWED_HOSTS = [*ALLOWED_HOSTS, "localhost", ".localhost", "127.0.0.1"]
# Receivers of webhooks on the developer's machine have no certificate.
WEBHOOKS_ALLOW_HTTP = True
# The demo's ERP runs on this machine.
EGRESS_ALLOW_PRIVATE = EGRESS_ALLOW_PRIVATE or ["127.0.0.0/8:*", "[::1]/128:*"]
# Static files are served from where they lie; only production collects them.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
STATIC_ROOT = None
