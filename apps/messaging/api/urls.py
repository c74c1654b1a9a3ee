"""Routes of messaging, relative to /api/v2/."""

from django.urls import path

from apps.messaging.api import views

urlpatterns = [
    path("consumers", views.ConsumerListView.as_view(), name="consumer-list"),
    path("consumers/<uuid:consumer_id>", views.ConsumerView.as_view(), name="consumer"),
    path("consumers/<uuid:consumer_id>/pause", views.ConsumerPauseView.as_view(), name="consumer-pause"),
    path("consumers/<uuid:consumer_id>/resume", views.ConsumerResumeView.as_view(), name="consumer-resume"),
    path("consumers/<uuid:consumer_id>/dead-letters", views.DeadLetterListView.as_view(), name="dead-letters"),
    path("consumers/<uuid:consumer_id>/redeliver", views.RedeliverAllView.as_view(), name="dead-letter-redeliver-all"),
    path("dead-letters/<uuid:letter_id>", views.DeadLetterView.as_view(), name="dead-letter"),
    path(
        "dead-letters/<uuid:letter_id>/redeliver", views.DeadLetterRedeliverView.as_view(), name="dead-letter-redeliver"
    ),
    path("dead-letters/<uuid:letter_id>/discard", views.DeadLetterDiscardView.as_view(), name="dead-letter-discard"),
]
