"""Errors of access, by consequence."""

from apps.core import exceptions as core


class PermissionDenied(core.PermissionDenied):
    """You do not have the permission that this needs."""

    code = "access.permission_denied"


class MemberNotFound(core.NotFound):
    """There is no such member."""

    code = "access.member_not_found"


class RoleNotFound(core.NotFound):
    """There is no such role."""

    code = "access.role_not_found"


class InvitationNotFound(core.NotFound):
    """There is no such invitation."""

    code = "access.invitation_not_found"


class ApiKeyNotFound(core.NotFound):
    """There is no such API key."""

    code = "access.api_key_not_found"


class SessionNotFound(core.NotFound):
    """There is no such session."""

    code = "access.session_not_found"


class LastAdministrator(core.Conflict):
    """This would leave the organisation without an administrator."""

    code = "access.last_administrator"
    default_remedy = "Make somebody else an administrator first."


class BuiltinRoleFixed(core.Conflict):
    """Built-in roles cannot be changed."""

    code = "access.builtin_role"
    default_remedy = "Create a role of your own with the permissions you want."


class RoleTaken(core.Conflict):
    """A role with that name exists already."""

    code = "access.role_taken"
    default_remedy = "Choose another name."


class RoleInUse(core.Conflict):
    """Members still have this role."""

    code = "access.role_in_use"
    default_remedy = "Give those members another role first."


class UnknownPermission(core.ValidationFailed):
    """There is no such permission."""

    code = "access.unknown_permission"
    default_remedy = "GET /api/v2/permissions lists the permissions."


class ScopeNotHeld(PermissionDenied):
    """You cannot hand out a permission that you do not have."""

    code = "access.scope_not_held"


class AlreadyMember(core.Conflict):
    """Somebody with that e-mail address is a member already."""

    code = "access.already_member"
    default_remedy = "Change that member's roles instead."


class InvitationOpen(core.Conflict):
    """That address has an open invitation already."""

    code = "access.invitation_open"
    default_remedy = "Send the open invitation again, or revoke it first."


class InvitationInvalid(core.TerminalError):
    """This invitation is not valid any more."""

    code = "access.invitation_invalid"
    status = 410
    default_remedy = "Ask the person who invited you for a new invitation."


class ExpiryInvalid(core.ValidationFailed):
    """The expiry must lie in the future and within the longest lifetime."""

    code = "access.expiry_invalid"
