"""Keeps "last seen" of sessions, without a write per request."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

from apps.tenancy.services.cache_keys import throttle_key

SEEN_EVERY_S = 60


class SessionActivityMiddleware(MiddlewareMixin):
    """Notes a signed-in session's time, address and browser at most once a minute.

    allauth's own middleware reads and saves the row on every request, which polling pages multiply.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Write the row when this minute has not seen the session yet."""
        key = request.session.session_key
        if not key or not request.user.is_authenticated:
            return
        if cache.add(throttle_key("seen", key), 1, SEEN_EVERY_S):
            UserSession.objects.create_from_request(request)
