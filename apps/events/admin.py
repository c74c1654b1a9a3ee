"""Read-only view of the event log and of deliveries."""

from __future__ import annotations

from django.contrib import admin

from apps.events.models import Event, ParkedEvent, Subscription
from apps.tenancy.services.admin_scope import ReadOnlyAdmin


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("position", "time", "type", "subject", "key")
    list_filter = ("type",)
    search_fields = ("subject", "key")
    ordering = ("-id",)


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    list_display = ("name", "position", "delivered", "failures", "retry_at", "last_error")


@admin.register(ParkedEvent)
class ParkedEventAdmin(ReadOnlyAdmin):
    list_display = ("position", "subscription", "key", "status", "attempts", "retry_at", "error")
    list_filter = ("status",)
    search_fields = ("key",)
