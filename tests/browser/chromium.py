"""A real browser: Chromium without a screen, and what the tests ask of a page in it.

Promise: whatever a page tells the console, an error or a breach of the policy, is remembered.

with chromium() as browser:
    screen = Screen(browser, url, language="zh", dark=True, width=360)
    screen.open("/facts")
    assert screen.faults() == [] and screen.problems == []
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any, Final

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOCALES: Final = {"en": "en-GB", "zh": "zh-CN"}
AT_ONCE, PATIENCE = 20_000, 60_000  # milliseconds: for a page; for what the model does
GRAVE: Final = ("serious", "critical")
# Chromium says this of every page whose status is an error: the page is what was asked for.
STATUS: Final = "Failed to load resource: the server responded with a status of"


def program() -> str | None:
    """Where Chromium is on this machine."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser while the block runs."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=AT_ONCE)
        browser = playwright.chromium.launch(executable_path=program())
        try:
            yield browser
        finally:
            browser.close()


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


class Screen:
    """One visitor: cookies of its own, one page. `problems` are the console's errors."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        language: str = "en",
        dark: bool = False,
        width: int = 1280,
        height: int = 800,
        scripts: bool = True,
    ) -> None:
        self.url = url
        self.problems: list[str] = []
        self.context = browser.new_context(
            locale=LOCALES[language],
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            viewport={"width": width, "height": height},
            java_script_enabled=scripts,
        )
        self.context.set_default_timeout(AT_ONCE)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _told(self, message: ConsoleMessage) -> None:
        at_fault = message.type in ("error", "warning")
        page_itself = message.location.get("url") == self.page.url and STATUS in message.text
        if at_fault and not page_itself:
            self.problems.append(f"{self.page.url}: {message.text}")

    # --- what a person does -----------------------------------------------------------------------

    def open(self, path: str) -> Page:
        """Go to a page of the application."""
        self.page.goto(f"{self.url}{path}")
        return self.page

    def say(self, message: str) -> Locator:
        """Send a message with Enter; the turn that comes of it, when its answers are whole."""
        if self.page.url != f"{self.url}/":
            self.open("/")
        turns = self.page.locator("article").count()
        self.page.locator("#message").fill(message)
        self.page.locator("#message").press("Enter")
        expect(self.page.locator("article")).to_have_count(turns + 1)
        return self.settled().locator("#last")

    def settled(self) -> Page:
        """The page once nothing streams into it any more."""
        expect(self.page.locator("[sse-swap=token], [sse-swap=progress]")).to_have_count(
            0, timeout=PATIENCE
        )
        return self.page

    def confirm(self, user: str, password: str) -> Page:
        """Confirm the proposal that is shown."""
        self.page.locator("[name=user]").fill(user)
        self.page.locator("[name=password]").fill(password)
        self.page.locator("[name=password]").press("Enter")
        return self.page

    # --- what is asked of a page ------------------------------------------------------------------

    def faults(self) -> list[str]:
        """The serious and critical faults that axe finds: rule, and the element."""
        self.page.evaluate(_axe())
        found: list[dict[str, Any]] = self.page.evaluate("axe.run()")["violations"]
        return [
            f"{self.page.url}: {fault['id']}: {node['html'][:200]}"
            for fault in found
            if fault["impact"] in GRAVE
            for node in fault["nodes"]
        ]

    def overhang(self) -> int:
        """How many pixels the page is wider than the window."""
        wide: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide

    def close(self) -> None:
        """The visitor leaves."""
        self.context.close()
