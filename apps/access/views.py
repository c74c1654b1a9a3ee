"""The one page that access serves itself: the door behind an invitation link."""

from __future__ import annotations

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.access.exceptions import InvitationInvalid
from apps.access.services.allauth_adapter import remember_invitation
from apps.access.services.invitations import find_open_invitation


@never_cache
@require_safe
def open_invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Check the link and lead to the sign-up form; looking does not use the link up (mail scanners look)."""
    invitation = find_open_invitation(token)
    if invitation is None:
        return render(request, "access/invitation_invalid.html", {"error": InvitationInvalid()}, status=410)
    if request.user.is_authenticated:
        logout(request)
    remember_invitation(request, invitation)
    request.session["account_verified_email"] = invitation.email
    return redirect("account_signup")
