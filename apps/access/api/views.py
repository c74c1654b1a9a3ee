"""REST v2 of access: oneself, members, roles, permissions, invitations, API keys, sessions."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from allauth.usersessions.models import UserSession
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.api import serializers as shapes
from apps.access.exceptions import PermissionDenied
from apps.access.models import ApiKey, Invitation, Role, User
from apps.access.registries import permissions
from apps.access.selectors import (
    get_member,
    get_role,
    list_api_keys,
    list_invitations,
    list_members,
    list_roles,
    list_sessions,
)
from apps.access.services.api_keys import create_api_key, revoke_api_key
from apps.access.services.http import HasPermission, actor_of
from apps.access.services.invitations import create_invitation, resend_invitation, revoke_invitation
from apps.access.services.members import remove_member, update_member
from apps.access.services.profile import update_profile
from apps.access.services.roles import create_role, delete_role, update_role
from apps.access.services.sessions import end_other_sessions, end_session
from apps.core.api.inputs import read_input
from apps.tenancy.services.context import current_tenant


def _person(request: Request) -> User:
    """The signed-in person; API keys have neither profile nor sessions."""
    if actor_of(request).kind != "user":
        raise PermissionDenied("This is for people, not for API keys.")
    return cast(User, request.user)


class MeView(APIView):
    """Oneself."""

    @extend_schema(operation_id="me_get", responses=shapes.MeSerializer)
    def get(self, request: Request) -> Response:
        """Who is asking, in which tenant, with which permissions."""
        return Response(self._document(request, cast(User, request.user)))

    @extend_schema(operation_id="me_update", request=shapes.ProfileInput, responses=shapes.MeSerializer)
    def patch(self, request: Request) -> Response:
        """Change one's own name, time zone, language or theme."""
        user = update_profile(actor=actor_of(request), **read_input(shapes.ProfileInput, request.data))
        return Response(self._document(request, user))

    @staticmethod
    def _document(request: Request, user: User) -> dict[str, Any]:
        actor = actor_of(request)
        return dict(
            shapes.MeSerializer(
                {
                    "user": user,
                    "tenant": current_tenant(),
                    "permissions": sorted(actor.permissions),
                    "roles": sorted(user.roles.values_list("slug", flat=True)),
                }
            ).data
        )


@extend_schema_view(get=extend_schema(parameters=[shapes.MemberFilter]))
class MemberListView(ListAPIView):
    """People of the tenant."""

    permission_classes = [HasPermission.of(read="member:view")]
    serializer_class = shapes.MemberSerializer

    def get_queryset(self) -> QuerySet[User]:
        """Members, newest first; `?search=` looks in name and address."""
        members = list_members()
        search = read_input(shapes.MemberFilter, self.request.query_params)["search"]
        return members.filter(email__icontains=search) | members.filter(name__icontains=search) if search else members


class MemberView(APIView):
    """One person of the tenant."""

    permission_classes = [HasPermission.of(read="member:view", write="member:manage")]

    @extend_schema(operation_id="member_get", responses=shapes.MemberSerializer)
    def get(self, request: Request, member_id: UUID) -> Response:
        """The member."""
        return Response(shapes.MemberSerializer(get_member(member_id)).data)

    @extend_schema(operation_id="member_update", request=shapes.MemberInput, responses=shapes.MemberSerializer)
    def patch(self, request: Request, member_id: UUID) -> Response:
        """Change roles, close or reopen the account."""
        update_member(member_id, actor=actor_of(request), **read_input(shapes.MemberInput, request.data))
        return Response(shapes.MemberSerializer(get_member(member_id)).data)

    @extend_schema(operation_id="member_remove", responses={204: None})
    def delete(self, request: Request, member_id: UUID) -> Response:
        """Take the person out of the tenant."""
        remove_member(member_id, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class RoleListView(ListAPIView):
    """Roles of the tenant."""

    permission_classes = [HasPermission.of(read="member:view", write="role:manage")]
    serializer_class = shapes.RoleSerializer

    def get_queryset(self) -> QuerySet[Role]:
        """Roles, newest first."""
        return list_roles()

    @extend_schema(operation_id="role_create", request=shapes.RoleInput, responses={201: shapes.RoleSerializer})
    def post(self, request: Request) -> Response:
        """Make a role of the tenant's own."""
        wanted = read_input(shapes.RoleInput, request.data)
        wanted["permission_codes"] = wanted.pop("permissions")
        role = create_role(wanted.pop("name"), actor=actor_of(request), **wanted)
        return Response(shapes.RoleSerializer(role).data, status=status.HTTP_201_CREATED)


class RoleView(APIView):
    """One role."""

    permission_classes = [HasPermission.of(read="member:view", write="role:manage")]

    @extend_schema(operation_id="role_get", responses=shapes.RoleSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """The role."""
        return Response(shapes.RoleSerializer(get_role(slug)).data)

    @extend_schema(operation_id="role_update", request=shapes.RoleChange, responses=shapes.RoleSerializer)
    def patch(self, request: Request, slug: str) -> Response:
        """Change a role of the tenant's own."""
        wanted = read_input(shapes.RoleChange, request.data)
        codes = wanted.pop("permissions", None)
        role = update_role(slug, permission_codes=codes, actor=actor_of(request), **wanted)
        return Response(shapes.RoleSerializer(role).data)

    @extend_schema(operation_id="role_delete", responses={204: None})
    def delete(self, request: Request, slug: str) -> Response:
        """Remove a role that nobody has."""
        delete_role(slug, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class PermissionListView(APIView):
    """What can be allowed."""

    @extend_schema(operation_id="permissions_list", responses=shapes.PermissionPage)
    def get(self, request: Request) -> Response:
        """Every permission with its description."""
        rows = [{"code": code, "description": text} for code, text in sorted(permissions.all().items())]
        return Response({"results": rows, "next": None, "previous": None})


class InvitationListView(ListAPIView):
    """Invitations of the tenant."""

    permission_classes = [HasPermission.of(read="member:view", write="member:manage")]
    serializer_class = shapes.InvitationSerializer

    def get_queryset(self) -> QuerySet[Invitation]:
        """Invitations, newest first."""
        return list_invitations()

    @extend_schema(
        operation_id="invitation_create", request=shapes.InvitationInput, responses={201: shapes.InvitationSerializer}
    )
    def post(self, request: Request) -> Response:
        """Invite somebody by e-mail."""
        wanted = read_input(shapes.InvitationInput, request.data)
        invitation = create_invitation(wanted["email"], roles=wanted["roles"], actor=actor_of(request))
        return Response(shapes.InvitationSerializer(invitation).data, status=status.HTTP_201_CREATED)


class InvitationView(APIView):
    """One invitation."""

    permission_classes = [HasPermission.of(read="member:view", write="member:manage")]

    @extend_schema(operation_id="invitation_revoke", responses={204: None})
    def delete(self, request: Request, invitation_id: UUID) -> Response:
        """Take the invitation back."""
        revoke_invitation(invitation_id, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationResendView(APIView):
    """Sending an invitation again."""

    permission_classes = [HasPermission.of(read="member:view", write="member:manage")]

    @extend_schema(operation_id="invitation_resend", request=None, responses=shapes.InvitationSerializer)
    def post(self, request: Request, invitation_id: UUID) -> Response:
        """Send a fresh link; the former one stops working."""
        invitation = resend_invitation(invitation_id, actor=actor_of(request))
        return Response(shapes.InvitationSerializer(invitation).data)


class ApiKeyListView(ListAPIView):
    """API keys of the tenant."""

    permission_classes = [HasPermission.of(read="apikey:manage", write="apikey:manage")]
    serializer_class = shapes.ApiKeySerializer

    def get_queryset(self) -> QuerySet[ApiKey]:
        """Keys, newest first."""
        return list_api_keys()

    @extend_schema(
        operation_id="api_key_create", request=shapes.ApiKeyInput, responses={201: shapes.NewApiKeySerializer}
    )
    def post(self, request: Request) -> Response:
        """Make a key; the answer holds it this once."""
        wanted = read_input(shapes.ApiKeyInput, request.data)
        row, key = create_api_key(wanted.pop("name"), actor=actor_of(request), **wanted)
        row.key = key  # type: ignore[attr-defined]
        headers = {"Cache-Control": "no-store"}
        return Response(shapes.NewApiKeySerializer(row).data, status=status.HTTP_201_CREATED, headers=headers)


class ApiKeyView(APIView):
    """One API key."""

    permission_classes = [HasPermission.of(read="apikey:manage", write="apikey:manage")]

    @extend_schema(operation_id="api_key_revoke", responses={204: None})
    def delete(self, request: Request, api_key_id: UUID) -> Response:
        """Make the key useless at once."""
        revoke_api_key(api_key_id, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionListView(ListAPIView):
    """Where one is signed in."""

    serializer_class = shapes.SessionSerializer
    queryset = UserSession.objects.none()  # for the OpenAPI document, which is drawn without a person

    def get_queryset(self) -> QuerySet[Any]:
        """One's own sessions, newest first."""
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return list_sessions(_person(self.request))

    def get_serializer_context(self) -> dict[str, Any]:
        """Adds the asking session's key, so that the row can say "this one"."""
        return {**super().get_serializer_context(), "session_key": self.request.session.session_key}


class SessionView(APIView):
    """One of one's own sessions."""

    @extend_schema(operation_id="session_end", responses={204: None})
    def delete(self, request: Request, session_id: int) -> Response:
        """Sign that session out."""
        end_session(session_id, user=_person(request), actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class OtherSessionsView(APIView):
    """Every session but this one."""

    @extend_schema(operation_id="sessions_end_others", request=None, responses=shapes.EndedSessions)
    def post(self, request: Request) -> Response:
        """Sign out elsewhere."""
        ended = end_other_sessions(
            user=_person(request), keep_session_key=request.session.session_key, actor=actor_of(request)
        )
        return Response({"ended": ended})
