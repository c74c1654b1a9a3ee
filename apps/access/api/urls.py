"""Routes of access, relative to `/api/v2/`."""

from django.urls import path

from apps.access.api import views

urlpatterns = [
    path("me", views.MeView.as_view(), name="me"),
    path("members", views.MemberListView.as_view(), name="member-list"),
    path("members/<uuid:member_id>", views.MemberView.as_view(), name="member-detail"),
    path("roles", views.RoleListView.as_view(), name="role-list"),
    path("roles/<slug:slug>", views.RoleView.as_view(), name="role-detail"),
    path("permissions", views.PermissionListView.as_view(), name="permission-list"),
    path("invitations", views.InvitationListView.as_view(), name="invitation-list"),
    path("invitations/<uuid:invitation_id>", views.InvitationView.as_view(), name="invitation-detail"),
    path("invitations/<uuid:invitation_id>/resend", views.InvitationResendView.as_view(), name="invitation-resend"),
    path("api-keys", views.ApiKeyListView.as_view(), name="api-key-list"),
    path("api-keys/<uuid:api_key_id>", views.ApiKeyView.as_view(), name="api-key-detail"),
    path("sessions", views.SessionListView.as_view(), name="session-list"),
    path("sessions/end-others", views.OtherSessionsView.as_view(), name="session-end-others"),
    path("sessions/<int:session_id>", views.SessionView.as_view(), name="session-detail"),
]
