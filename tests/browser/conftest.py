"""Every test here drives a browser, over one service that they all look at."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium
from tests.browser.stage import Stage, stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for mark in (pytest.mark.system, pytest.mark.trial, pytest.mark.browser):
                item.add_marker(mark)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    if chromium.program() is None:
        pytest.skip(f"none of {', '.join(chromium.PROGRAMS)} is installed here: no page was looked at")
    try:
        with chromium.chromium() as it:
            yield it
    except ImportError:
        pytest.skip("playwright is not here: `make browser` brings it")


@pytest.fixture(scope="session")
def on(browser: "Browser") -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder, stage(Path(folder) / "r") as it:
        yield it
