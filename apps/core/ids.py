"""Identifiers: time-ordered UUIDs, so that a primary key is also a creation order and a paging cursor."""

from uuid import UUID

import uuid_utils.compat


def uuid7() -> UUID:
    """A new time-ordered UUID (RFC 9562, version 7) as the standard library's type."""
    return uuid_utils.compat.uuid7()
