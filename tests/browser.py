"""Chromium for tests and screenshots: the system's own, headless, without calls to the outside."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
# WCAG 2.2 includes the older ones; axe knows each criterion by the version that brought it.
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
# Colours that fade to another theme are measured when they have arrived.
TRANSITIONS_END = """async () => {
    const roots = [document];
    for (const root of roots)
        for (const element of root.querySelectorAll("*")) if (element.shadowRoot) roots.push(element.shadowRoot);
    const moving = roots.flatMap((root) => root.getAnimations()).filter((one) => one instanceof CSSTransition);
    await Promise.allSettled(moving.map((one) => one.finished));
}"""


def chromium_path() -> str:
    """The browser to use: CHROMIUM_PATH, else the system's.

    Raises:
        RuntimeError: there is none; says how to get one.
    """
    found = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        raise RuntimeError("No Chromium found. Install the system's package `chromium`, or set CHROMIUM_PATH.")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    flags = [*FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else FLAGS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, base_url: str, email: str, password: str) -> None:
    """Sign in on a tenant's host and wait for the overview."""
    page.goto(f"{base_url}/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/overview")


class ConsoleWatch:
    """Collects what a page's console and scripts complain about: errors, CSP violations, uncaught exceptions.

    A journey that provokes a refusal says so before, because Chromium reports each answer from 400 on as an error.
    """

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._expected: list[str] = []

    def follow(self, page: Page) -> None:
        """Listen to a page from now on."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def expect(self, pattern: str) -> None:
        """Complaints that match are part of the journey: their text and address, joined by a blank, are searched."""
        self._expected.append(pattern)

    def unexpected(self) -> list[str]:
        """What nobody announced."""
        return [text for text in self.complaints if not any(re.search(one, text) for one in self._expected)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")


def find_violations(page: Page, *rules: str) -> list[str]:
    """What axe-core finds on the page as it is now: rule, element and reason, one a line.

    Args:
        page: the page; what is still fading is waited for.
        rules: only these rules of axe; none given: all that belong to WCAG 2.2 AA.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    page.evaluate(TRANSITIONS_END)
    only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": list(WCAG)}
    options = {"runOnly": only, "resultTypes": ["violations"]}
    found: dict[str, Any] = page.evaluate("(options) => axe.run(document, options)", options)
    return [
        f"{violation['id']} {node['target']}: {node.get('failureSummary', '').replace(chr(10), ' ')}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def horizontal_overflow(page: Page) -> int:
    """By how many pixels the page can be scrolled sideways; 0 is right."""
    return page.evaluate("() => document.scrollingElement.scrollWidth - document.documentElement.clientWidth")
