"""`make test`: as dev, with fast password hashing and mail kept in memory."""

import os
import re

from config.settings.dev import *
from config.settings.dev import CACHES, CELERY_BROKER_URL, CHANNEL_LAYERS

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
ACCOUNT_RATE_LIMITS = False

# Parallel pytest workers share one Valkey; each gets three of its databases, so that no Celery worker eats another
# one's messages and no `cache.clear()` empties another one's cache.
_SHIFT = 3 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _shifted(url: str) -> str:
    return re.sub(r"^((?:redis|unix)\S*/)(\d+)$", lambda found: f"{found[1]}{int(found[2]) + _SHIFT}", url)


CELERY_BROKER_URL = _shifted(CELERY_BROKER_URL)
CACHES["default"]["LOCATION"] = _shifted(CACHES["default"]["LOCATION"])
CHANNEL_LAYERS["default"]["CONFIG"]["hosts"] = [_shifted(host) for host in CHANNEL_LAYERS["default"]["CONFIG"]["hosts"]]
