"""Static files in production: hashed names, compressed, with the micro-frontends left as built.

The front end's build already names its files by content and its import map lists their integrity; a second renaming
would break both.
"""

from __future__ import annotations

from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage

PREHASHED_PREFIX = "mfe/"


class PortalStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Whitenoise's manifest storage that passes files below `mfe/` through under their own names."""

    def hashed_name(self, name: str, content: Any = None, filename: str | None = None) -> str:
        """The name itself for a micro-frontend's file, else the name with its hash."""
        return name if name.startswith(PREHASHED_PREFIX) else super().hashed_name(name, content, filename)
