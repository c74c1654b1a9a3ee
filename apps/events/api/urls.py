"""Addresses below `/api/v2/`."""

from __future__ import annotations

from django.urls import path

from apps.events.api import deliveries, event_contracts, events, stream, subscriptions, webhook_endpoints

SUBSCRIPTION = "event-subscriptions/<uuid:subscription_id>"

urlpatterns = [
    path("events", events.EventsView.as_view(), name="event-list"),
    path("events/stream", stream.EventStreamView.as_view(), name="event-stream"),
    path("events/<uuid:event_id>", events.EventView.as_view(), name="event"),
    path("event-types", events.EventTypesView.as_view(), name="event-type-list"),
    path("event-contracts", event_contracts.ContractsView.as_view(), name="event-contracts"),
    path("event-contracts/<uuid:contract_id>", event_contracts.ContractView.as_view(), name="event-contract"),
    path(
        "event-contracts/<uuid:contract_id>/check",
        event_contracts.ContractCheckView.as_view(),
        name="event-contract-check",
    ),
    path(
        "event-contracts/<uuid:contract_id>/versions",
        event_contracts.ContractVersionsView.as_view(),
        name="event-contract-versions",
    ),
    path("event-subscriptions", subscriptions.SubscriptionsView.as_view(), name="event-subscriptions"),
    path(SUBSCRIPTION, subscriptions.SubscriptionView.as_view(), name="event-subscription"),
    path(f"{SUBSCRIPTION}/pause", subscriptions.SubscriptionPauseView.as_view(), name="event-subscription-pause"),
    path(f"{SUBSCRIPTION}/resume", subscriptions.SubscriptionResumeView.as_view(), name="event-subscription-resume"),
    path(
        f"{SUBSCRIPTION}/rotate-secret",
        subscriptions.SubscriptionRotateView.as_view(),
        name="event-subscription-rotate",
    ),
    path(f"{SUBSCRIPTION}/test", subscriptions.SubscriptionTestView.as_view(), name="event-subscription-test"),
    path(f"{SUBSCRIPTION}/redrive", subscriptions.SubscriptionRedriveView.as_view(), name="event-subscription-redrive"),
    path(f"{SUBSCRIPTION}/discard", subscriptions.SubscriptionDiscardView.as_view(), name="event-subscription-discard"),
    path(f"{SUBSCRIPTION}/replay-preview", subscriptions.ReplayPreviewView.as_view(), name="event-replay-preview"),
    path(f"{SUBSCRIPTION}/replay", subscriptions.ReplayView.as_view(), name="event-replay"),
    path("event-deliveries", deliveries.DeliveriesView.as_view(), name="event-deliveries"),
    path("event-deliveries/<uuid:delivery_id>", deliveries.DeliveryView.as_view(), name="event-delivery"),
    path("event-deliveries/<uuid:delivery_id>/redeliver", deliveries.RedeliverView.as_view(), name="event-redeliver"),
    path("webhook-endpoints", webhook_endpoints.EndpointsView.as_view(), name="webhook-endpoints"),
    path("webhook-endpoints/<uuid:endpoint_id>", webhook_endpoints.EndpointView.as_view(), name="webhook-endpoint"),
    path(
        "webhook-endpoints/<uuid:endpoint_id>/rotate-secret",
        webhook_endpoints.EndpointRotateView.as_view(),
        name="webhook-endpoint-rotate",
    ),
    path("webhook-messages", webhook_endpoints.MessagesView.as_view(), name="webhook-messages"),
    path("webhook-messages/<uuid:message_id>", webhook_endpoints.MessageView.as_view(), name="webhook-message"),
]
