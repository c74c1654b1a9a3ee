"""A build manifest as `npm run build` writes it, small."""

from __future__ import annotations

from typing import Any

HASH = f"sha384-{'A' * 64}"


def remote(name: str, permissions: list[str]) -> dict[str, Any]:
    """A remote of the manifest."""
    return {
        "id": name,
        "name": name.title(),
        "version": "2.0.0",
        "kind": "esm",
        "routes": [f"/{name}"],
        "navigation": [
            {"label": name.title(), "path": f"/{name}", "icon": "flow", "order": 10, "permission": None},
        ],
        "permissions": permissions,
        "module": f"@portal/remotes/{name}",
    }


def manifest(**changes: Any) -> dict[str, Any]:
    """A usable manifest with two remotes, one of which has a chunk that is loaded later."""
    imports = {
        "react": "vendor/react-0001.js",
        "@portal/shell": "shell/shell-0001.js",
        "@portal/remotes/overview": "remotes/overview-0001.js",
        "@portal/remotes/flows": "remotes/flows-0001.js",
    }
    return {
        "schema": 1,
        "release": "r1",
        "imports": imports,
        "integrity": dict.fromkeys((*imports.values(), "remotes/flows-lazy-0001.js"), HASH),
        "shell": {"entry": "shell/shell-0001.js", "preload": ["shell/shell-0001.js", "vendor/react-0001.js"]},
        "remotes": [remote("overview", []), remote("flows", ["flow:view"])],
        **changes,
    }
