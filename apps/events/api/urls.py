"""Addresses below `/api/v2/`."""

from __future__ import annotations

from django.urls import path

from apps.events.api.events import EventsView, EventTypesView

urlpatterns = [
    path("events", EventsView.as_view(), name="event-list"),
    path("event-types", EventTypesView.as_view(), name="event-type-list"),
]
