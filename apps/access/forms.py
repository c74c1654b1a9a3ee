"""The form behind an invitation link."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import SignupForm
from allauth.core import context
from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest

from apps.access.exceptions import InvitationInvalid
from apps.access.services.allauth_adapter import find_session_invitation


class InvitationSignupForm(SignupForm):
    """Name and password of an invited person; the address is the invitation's and cannot be changed."""

    name = forms.CharField(
        max_length=120, label="Your name", widget=forms.TextInput(attrs={"autocomplete": "name", "autofocus": True})
    )
    field_order = ["email", "name", "password1", "password2"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].widget.attrs.update({"readonly": True, "tabindex": "-1"})

    def clean_email(self) -> str:
        """The typed address is ignored: the invitation decides."""
        invitation = find_session_invitation(context.request)
        if invitation is None:
            raise ValidationError(InvitationInvalid().message)
        return self.validate_unique_email(invitation.email)

    def try_save(self, request: HttpRequest) -> Any:
        """Create the user and use the invitation up, both or neither."""
        request._invited_email = self.cleaned_data["email"]  # type: ignore[attr-defined]
        with transaction.atomic():
            return super().try_save(request)
