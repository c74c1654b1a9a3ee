"""The only door to the outside: every address a connection names is checked here before anything is opened.

`resolve_target` for sockets of other libraries (PostgreSQL's `hostaddr`), `open_session` for HTTP, `PinnedResolver` for
libraries that bring their own aiohttp (object storage).
"""

from apps.core.services.egress.addresses import (
    CheckedUrl,
    EgressDenied,
    HostUnreachable,
    HostUnresolved,
    ResolvedTarget,
    check_address,
    check_url,
    open_socket,
    probe,
    resolve_target,
)
from apps.core.services.egress.http import (
    EgressFailed,
    EgressLimits,
    EgressResponse,
    EgressSession,
    PinnedResolver,
    ResponseTooLarge,
    open_session,
)

__all__ = [
    "CheckedUrl",
    "EgressDenied",
    "EgressFailed",
    "EgressLimits",
    "EgressResponse",
    "EgressSession",
    "HostUnreachable",
    "HostUnresolved",
    "PinnedResolver",
    "ResolvedTarget",
    "ResponseTooLarge",
    "check_address",
    "check_url",
    "open_session",
    "open_socket",
    "probe",
    "resolve_target",
]
