"""Pages of access, below `/accounts/` and before allauth's own."""

from django.urls import path

from apps.access import views

urlpatterns = [
    path("invitations/<str:token>/", views.open_invitation, name="access_open_invitation"),
]
