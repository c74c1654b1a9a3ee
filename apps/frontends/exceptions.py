"""What can be wrong with the built front end."""

from __future__ import annotations

from apps.core.exceptions import TerminalError


class BuildMissing(TerminalError):
    """The front end has not been built."""

    code = "frontends.build_missing"
    status = 503
    default_remedy = "Run `make run`, or `npm ci && npm run build` in frontend_host/, and reload the page."


class BuildInvalid(TerminalError):
    """The front end's build manifest cannot be used."""

    code = "frontends.build_invalid"
    status = 503
    default_remedy = "Build the front end again: `npm run build` in frontend_host/."
