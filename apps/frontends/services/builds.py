"""Reading the manifest that the front end's build writes."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders

from apps.frontends.contracts import Build, NavigationItem, Remote
from apps.frontends.exceptions import BuildInvalid, BuildMissing

MANIFEST = "mfe/manifest.json"
SCHEMA = 1
FILE = re.compile(r"^[\w-]+(?:/[\w.-]+)+\.js$")
INTEGRITY = re.compile(r"^sha384-[A-Za-z0-9+/]{64}$")


def get_build(path: Path | None = None) -> Build:
    """The build that is in place; read again when its file changes.

    Args:
        path: manifest to read; the one among the static files when absent.

    Raises:
        BuildMissing: there is none.
        BuildInvalid: it is not a manifest of this schema, or a script has no hash.
    """
    if path is None:
        found = finders.find(MANIFEST)
        if not found:
            raise BuildMissing
        path = Path(found)
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise BuildMissing from None
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, mtime_ns: int, size: int) -> Build:
    try:
        return build_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildInvalid(f"The front end's build manifest cannot be used: {error}") from error


def build_from_json(document: dict[str, Any]) -> Build:
    """A manifest as a `Build`; a script without a hash is refused, never let through unchecked.

    Raises:
        ValueError, KeyError, TypeError: the document is not a manifest of this schema.
    """
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']!r}, expected {SCHEMA}")
    integrity = dict(document["integrity"])
    for file, digest in integrity.items():
        if not FILE.match(file) or not INTEGRITY.match(digest):
            raise ValueError(f"{file!r} has no usable name or hash")
    build = Build(
        release=document["release"],
        imports=dict(document["imports"]),
        integrity=integrity,
        entry=document["shell"]["entry"],
        preload=tuple(document["shell"]["preload"]),
        remotes=tuple(_to_remote(remote) for remote in document["remotes"]),
    )
    for file in (*build.imports.values(), build.entry, *build.preload):
        if file not in integrity:
            raise ValueError(f"{file!r} is used but has no hash")
    for remote in build.remotes:
        if remote.module not in build.imports:
            raise ValueError(f"remote {remote.id!r} is not in the import map")
    return build


def _to_remote(remote: dict[str, Any]) -> Remote:
    return Remote(
        id=remote["id"],
        name=remote["name"],
        version=remote["version"],
        kind=remote["kind"],
        routes=tuple(remote["routes"]),
        navigation=tuple(
            NavigationItem(item["label"], item["path"], item["icon"], item["order"], item["permission"])
            for item in remote["navigation"]
        ),
        permissions=tuple(remote["permissions"]),
        module=remote["module"],
    )
