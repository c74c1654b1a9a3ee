"""ASGI entry point: `/hooks/` to the lean intake, other HTTP to Django, `/ws/` to Channels with the tenant resolved."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

import config.celery  # noqa: F401 - makes it the application that `shared_task`s send through

http_application = get_asgi_application()

from apps.events.api.inbound import InboundWebhooks  # noqa: E402 - needs the app registry
from apps.events.api.routing import websocket_urlpatterns  # noqa: E402 - needs the app registry
from apps.events.api.tenant_scope import TenantAuthMiddleware  # noqa: E402
from apps.portal.body_limit import BodyLimit  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": InboundWebhooks(BodyLimit(http_application)),
        "websocket": TenantAuthMiddleware(URLRouter(websocket_urlpatterns)),
    }
)
