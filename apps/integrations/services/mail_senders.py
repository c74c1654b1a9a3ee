"""Addresses that processes may send mail from: the portal's own, and those that the operator allows."""

from __future__ import annotations

from email.utils import parseaddr

from django.conf import settings


def find_sender(address: str | None) -> str | None:
    """The sender as it stands in a mail, or None when it is not allowed.

    Args:
        address: an address without a name; None is the portal's own.
    """
    if address is None:
        return str(settings.DEFAULT_FROM_EMAIL)
    for allowed in (settings.DEFAULT_FROM_EMAIL, *settings.MAIL_SENDERS):
        if parseaddr(allowed)[1].lower() == address.lower():
            return str(allowed)
    return None


def list_senders() -> list[str]:
    """The allowed addresses, without names."""
    return [parseaddr(allowed)[1] for allowed in (settings.DEFAULT_FROM_EMAIL, *settings.MAIL_SENDERS)]
