"""`make screenshots`: the demo on throw-away servers, its flows run for real, and pictures of every page.

The README's pictures go to `static/portal/screenshots/`; with a folder as argument, all pages in both sizes and both
themes go there instead, for looking at.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
django.setup()

from playwright.sync_api import Page  # noqa: E402 - after the settings

from tests.browser import SIZES, chromium, sign_in  # noqa: E402
from tests.processes import ROOT, free_port, running, start_beat, start_relay, start_web, start_worker  # noqa: E402

README_FOLDER = ROOT / "static" / "portal" / "screenshots"
README_PAGES = ("run", "mapping")
RUN_TIMEOUT_S = 120
SETTLE_MS = 1_200
API = "(path, options) => fetch('/api/v2/' + path, options).then((answer) => answer.json())"


def main(arguments: list[str]) -> None:
    """Seed, run, photograph."""
    folder = Path(arguments[0]) if arguments else README_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    call_command("migrate_tenants")
    call_command("seed_demo")
    from apps.portal.services.demo import PASSWORD

    with tempfile.TemporaryDirectory() as logs:
        port = free_port()
        directory = Path(logs)
        children = (start_worker(directory), start_beat(directory), start_relay(directory), start_web(directory, port))
        with running(*children), chromium() as browser:
            base_url = f"http://acme.localhost:{port}"
            context = browser.new_context(viewport={"width": 1440, "height": 900}, device_scale_factor=1)
            page = context.new_page()
            page.goto(f"{base_url}/accounts/login/")
            page.screenshot(path=str(folder / "sign-in-wide-light.png"))
            sign_in(page, base_url, "admin@acme.example", PASSWORD)
            paths = _run_flows(page)
            for name, path in paths.items():
                if arguments:
                    _photograph_all(page, base_url + path, folder, name)
                elif name in README_PAGES:
                    _photograph(page, base_url + path, folder / f"{name}.png")
    for path in sorted(folder.glob("*.png")):
        sys.stdout.write(f"{path}\n")


def _run_flows(page: Page) -> dict[str, str]:
    """Run every flow of the demo to its end; addresses of the pages worth a picture, by name."""
    flows = page.evaluate(API, "flows")["results"]
    token = page.evaluate("document.cookie.match(/portal_csrf=([^;]+)/)?.[1] ?? ''")
    for flow in flows:
        _wait_idle(page)
        page.evaluate(
            "([id, token]) => fetch(`/api/v2/flows/${id}/runs`, {method: 'POST',"
            " body: JSON.stringify({environment: 'dev'}),"
            " headers: {'Content-Type': 'application/json', 'X-CSRFToken': token}})",
            [flow["id"], token],
        )
    _wait_idle(page)
    invoices = next(flow for flow in flows if flow["name"] == "Invoices")
    runs = page.evaluate(API, f"runs?flow={invoices['id']}")["results"]
    connections = page.evaluate(API, "connections")["results"]
    erp = next(one for one in connections if one["slug"] == "erp")
    return {
        "overview": "/overview",
        "connections": "/connections",
        "connection-new": "/connections/new",
        "connection": f"/connections/{erp['id']}",
        "flows": "/flows",
        "mapping": f"/flows/{invoices['id']}",
        "runs": "/runs",
        "run": f"/runs/{runs[0]['id']}",
        "quarantine": "/quarantine",
        "settings-profile": "/settings/profile",
        "settings-members": "/settings/members",
        "settings-api-keys": "/settings/api-keys",
        "settings-environments": "/settings/environments",
        "settings-audit": "/settings/audit",
    }


def _wait_idle(page: Page) -> None:
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while True:
        found: dict[str, Any] = page.evaluate(API, "overview")
        if not found["counts"]["running"]:
            return
        if time.monotonic() > deadline:
            raise TimeoutError("The demo's runs did not end.")
        page.wait_for_timeout(300)


def _photograph(page: Page, url: str, path: Path) -> None:
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=str(path))


def _photograph_all(page: Page, url: str, folder: Path, name: str) -> None:
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            _photograph(page, url, folder / f"{name}-{size}-{theme}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
