"""PostgreSQL with one schema and one database role per tenant, the cache, and the Channels layer."""

from __future__ import annotations

from typing import Any

from config.settings import env

DATABASES = {
    "default": {
        **env.env.db_url_config(env.DATABASE_URL or "postgres:///portal"),
        "ENGINE": "apps.tenancy.backend",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
    },
}
DATABASES["default"].setdefault("OPTIONS", {})
if env.DATABASE_POOL_SIZE:
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": env.DATABASE_POOL_SIZE}
DATABASE_ROUTERS = ("django_tenants.routers.TenantSyncRouter",)
DATABASE_URL = env.DATABASE_URL
WAREHOUSE_URL = env.WAREHOUSE_URL

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": env.CACHE_URL,
        "KEY_FUNCTION": "apps.tenancy.services.cache_keys.make_key",
        "REVERSE_KEY_FUNCTION": "apps.tenancy.services.cache_keys.reverse_key",
        # Without the cache, hosts are looked up in PostgreSQL and throttles let through; no page fails for it.
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 2, "IGNORE_EXCEPTIONS": True},
    },
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [env.CHANNEL_URL]},
    },
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"
EGRESS_ALLOW_PRIVATE = env.EGRESS_ALLOW_PRIVATE
