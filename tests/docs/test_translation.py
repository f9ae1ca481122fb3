"""README.zh-CN.md has the sections and the blocks of code of README.md, in their order."""

import re

import pytest

from tests.docs.test_pages import ROOT

ENGLISH, CHINESE = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
TODO = "change README.zh-CN.md as README.md was changed"
_SECTION = re.compile(r"^(#+) ([^\n]+)\n(.*?)(?=^#+ |\Z)", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"(?:^ {4,}\S.*\n)+", re.MULTILINE)


def sections(page: str) -> list[tuple[str, str, str]]:
    """(level, heading, text) of each section; a heading within a block of code is none."""
    return _SECTION.findall(page)


def code_of(text: str) -> list[str]:
    """Its blocks of code; a comment behind a command may be in any language."""
    fences = _FENCE.findall(text)
    blocks = [it for it in _BLOCK.findall(_FENCE.sub("", text)) if it.lstrip().startswith(("make ", "app-proxy "))]
    return fences + [re.sub(r"\s+#.*$", "", it, flags=re.MULTILINE).strip() for it in blocks]


def test_the_headings_are_those_of_the_english_page() -> None:
    english = [(level, heading) for level, heading, _ in sections(ENGLISH)]
    chinese = [(level, text.strip().partition("\n")[0]) for level, _, text in sections(CHINESE)]
    expected = [(level, f"<!-- {heading} -->") for level, heading in english]
    missing, extra = ([it for it in one if it not in two] for one, two in ((expected, chinese), (chinese, expected)))
    told = f"below each Chinese heading stands the English one as <!-- heading -->; missing: {missing}, extra: {extra}"
    assert chinese == expected, f"{TODO}: {told}"


@pytest.mark.parametrize("number", range(len(sections(ENGLISH))), ids=[it[1] for it in sections(ENGLISH)])
def test_each_section_has_the_code_of_the_english_one(number: int) -> None:
    _, heading, text = sections(ENGLISH)[number]
    theirs = sections(CHINESE)[number][2] if number < len(sections(CHINESE)) else ""
    assert code_of(theirs) == code_of(text), f"{TODO}: copy the blocks of code of the section '{heading}'"


def test_there_is_code_to_compare() -> None:
    assert sum(len(code_of(text)) for _, _, text in sections(ENGLISH)) >= 3
