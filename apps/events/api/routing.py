"""Addresses of sockets."""

from __future__ import annotations

from django.urls import path

from apps.events.api.consumers import LiveConsumer

websocket_urlpatterns = [path("ws/live", LiveConsumer.as_asgi())]
