"""The built front end as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NavigationItem:
    """One entry of the portal's navigation.

    Attributes:
        label: text shown.
        path: address inside the portal.
        icon: name of an icon of the component package.
        order: place; lower comes first.
        permission: code needed to see it, None for everyone.
    """

    label: str
    path: str
    icon: str
    order: int
    permission: str | None

    def to_json(self) -> dict[str, Any]:
        """The item as the shell reads it."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Remote:
    """A micro-frontend of the build.

    Attributes:
        id, name, version, kind: from its manifest.
        routes: path prefixes that it serves.
        permissions: codes of which a person needs at least one to be offered the remote; empty for everyone.
        module: bare specifier in the import map.
    """

    id: str
    name: str
    version: str
    kind: str
    routes: tuple[str, ...]
    navigation: tuple[NavigationItem, ...]
    permissions: tuple[str, ...]
    module: str

    def to_json(self) -> dict[str, Any]:
        """The remote as the shell reads it."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "routes": list(self.routes),
            "navigation": [item.to_json() for item in self.navigation],
            "permissions": list(self.permissions),
            "module": self.module,
        }


@dataclass(frozen=True)
class Build:
    """One build of the front end.

    Attributes:
        release: hash over every file's hash.
        imports: bare specifier → file below `static/mfe/`.
        integrity: file → `sha384-…`, for every script of the build.
        entry: the shell's first script.
        preload: scripts needed before the shell's first line runs.
    """

    release: str
    imports: dict[str, str]
    integrity: dict[str, str]
    entry: str
    preload: tuple[str, ...]
    remotes: tuple[Remote, ...]


@dataclass(frozen=True)
class Script:
    """A script file with its address and hash."""

    url: str
    integrity: str
