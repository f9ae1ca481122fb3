"""The pictures of docs/console.md: one of each page at each width, none of a page that is gone."""

import re

import pytest

from tests.browser import screenshots
from tests.browser.chromium import WIDTHS
from tests.browser.screenshots import FOLDER, ROOT

_LINK = re.compile(r"\(console/([\w-]+\.png)\)")
EVERY = {f"{page}-{width}.png" for page in screenshots.EVERY for width in WIDTHS}


def test_each_page_has_a_picture_at_each_width() -> None:
    assert {path.name for path in FOLDER.iterdir()} == EVERY


def test_each_picture_is_shown() -> None:
    assert set(_LINK.findall((ROOT / "docs/console.md").read_text())) == EVERY


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_picture_is_small(name: str) -> None:
    assert (FOLDER / name).stat().st_size < 120_000
