"""Chromium as these tests drive it: the machine's own, through playwright, which `make browser` puts into .browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "google-chrome", "chromium-browser")  # as tools/find-chromium.sh has them
WIDTHS = {360: 740, 1280: 800, 3840: 2160}  # of a window, and its height: a small phone, a laptop, 4K
_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# axe's own: WCAG 2.2 A and AA, and what it calls best practice
_AXE = {"resultTypes": ["violations"]}
_SCROLLS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
_HEARING = "addEventListener('securitypolicyviolation', event => console.error(`CSP: ${event.violatedDirective}`))"


def program() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """With an empty profile of its own. Raises ImportError where playwright is not there."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  .browser may not be there

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=_FLAGS)
        yield browser
        browser.close()


@dataclass
class Window:
    """A page, and all that it complained of: errors of its console, scripts that failed, answers of 4xx and 5xx."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(_HEARING)
        self.page.on("console", lambda it: self.faults.append(it.text) if it.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("response", self._look)

    def _look(self, response: Any) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status} {response.url}")

    def widen(self, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": WIDTHS[width]})

    @property
    def scrolls_sideways(self) -> bool:
        found: bool = self.page.evaluate(_SCROLLS)
        return found

    def barriers(self) -> list[str]:
        """What axe finds: the rule, and the elements that break it."""
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415  as above

        found = Axe().run(self.page, options=_AXE).response["violations"]
        return [f"{it['id']}: {[node['html'][:200] for node in it['nodes']]}" for it in found]


@contextmanager
def window(browser: Browser, **options: Any) -> Iterator[Window]:
    """With cookies of its own; `options` are playwright's, such as `color_scheme` and `locale`."""
    context = browser.new_context(**options)
    context.set_default_timeout(20_000)
    yield Window(context.new_page())
    context.close()
