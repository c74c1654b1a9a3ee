"""The page's one import map: where every module is, and the hash that every script must have."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import PrefixNode

from apps.frontends.contracts import Build, Script

FOLDER = "mfe/"


def file_url(file: str) -> str:
    """Address of a built file: below STATIC_URL under its own name, which already carries its content's hash."""
    return f"{PrefixNode.handle_simple('STATIC_URL')}{FOLDER}{file}"


def build_import_map(build: Build) -> dict[str, Any]:
    """The import map of a page.

    Integrity covers every script, also chunks that remotes load later by relative import, so that a changed file never
    runs. A browser accepts one map per page only; scripts that arrive later cannot add to it.

    Returns:
        {"imports": {specifier: url}, "integrity": {url: hash}}, keys sorted, so that equal builds give equal text.

    Source: HTML Standard, "Import maps", `integrity`.
    """
    return {
        "imports": {specifier: file_url(file) for specifier, file in sorted(build.imports.items())},
        "integrity": {file_url(file): digest for file, digest in sorted(build.integrity.items())},
    }


def list_preloads(build: Build) -> list[Script]:
    """Scripts to fetch at once, the shell's entry first."""
    return [Script(file_url(file), build.integrity[file]) for file in build.preload]
