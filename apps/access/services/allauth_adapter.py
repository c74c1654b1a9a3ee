"""How allauth's log-in behaves here: sign-up by invitation only, messages with the tenant's name, sealed TOTP keys."""

from __future__ import annotations

import base64
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.forms import BaseForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from apps.access.models import Invitation, User
from apps.access.services.invitations import accept_invitation
from apps.tenancy.services.context import current_tenant

__all__ = ["PortalAccountAdapter", "PortalMfaAdapter", "find_session_invitation", "remember_invitation"]

SESSION_KEY = "access_invitation"
PLATFORM_NAME = "Analytics Integration Portal"


def remember_invitation(request: HttpRequest, invitation: Invitation) -> None:
    """Keep an opened invitation in the visitor's session, out of the address bar, until the form is sent."""
    request.session[SESSION_KEY] = str(invitation.id)


def find_session_invitation(request: HttpRequest) -> Invitation | None:
    """The open invitation that this visitor came with, or None."""
    invitation_id = request.session.get(SESSION_KEY)
    if invitation_id is None:
        return None
    invitation = Invitation.objects.filter(id=invitation_id).first()
    return invitation if invitation is not None and invitation.is_open else None


class PortalAccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Account behaviour: nobody registers without an invitation to this tenant."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Only for somebody who came through an invitation link that is still open."""
        return find_session_invitation(request) is not None

    def save_user(self, request: HttpRequest, user: Any, form: BaseForm, commit: bool = True) -> User:
        """Create the invited user and use the invitation up; the form runs this in one transaction.

        Raises:
            InvitationInvalid: it was used or revoked since the form was opened.
        """
        user.name = form.cleaned_data.get("name", "")
        saved: User = super().save_user(request, user, form, commit=True)
        accept_invitation(request.session[SESSION_KEY], user=saved)
        del request.session[SESSION_KEY]
        return saved

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """The invitation was opened from its message, so the address is the visitor's."""
        return bool(getattr(request, "_invited_email", None) == email) or super().is_email_verified(request, email)

    def is_safe_url(self, url: str | None) -> bool:
        """Only the own host: every other tenant's is in ALLOWED_HOSTS too, and a link to it may be a trap."""
        host = context.request.get_host()
        return url_has_allowed_host_and_scheme(url, allowed_hosts={host}, require_https=context.request.is_secure())

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """The overview; on the platform's host, which has none, the admin site."""
        if current_tenant() is None:
            return reverse("admin:index")
        return str(super().get_login_redirect_url(request))

    def format_email_subject(self, subject: str) -> str:
        """Subject with the tenant's name before it, so that two tenants' messages can be told apart."""
        tenant = current_tenant()
        prefix = "" if tenant is None else f"[{tenant.name}] "
        return f"{prefix}{subject}"


class PortalMfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factor: secrets are sealed with a key derived from SECRET_KEY; apps and keys show the tenant's name."""

    def get_totp_issuer(self) -> str:
        """What an authenticator app shows beside the address: two tenants' entries can be told apart."""
        return _site_name()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """The passkey's site: bound to the tenant's own host, shown by the tenant's name."""
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        return {**entity, "name": _site_name()}

    def encrypt(self, text: str) -> str:
        """Seal a secret before it is stored."""
        return _sealer().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Open a stored secret; keys of SECRET_KEY_FALLBACKS still open theirs."""
        return _sealer().decrypt(encrypted_text.encode()).decode()


def _site_name() -> str:
    tenant = current_tenant()
    return PLATFORM_NAME if tenant is None else tenant.name


def _sealer() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derive(key)) for key in keys])


def _derive(key: str | bytes) -> bytes:
    material = key if isinstance(key, bytes) else key.encode()
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"access.mfa").derive(material)
    return base64.urlsafe_b64encode(derived)
