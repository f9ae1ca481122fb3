"""docs/readyz.md has a section for each entry of /readyz, with every sentence that the program says in it."""

import re

import pytest

from tests.docs.readyz_sentences import GAP, entries, sentences
from tests.docs.test_pages import ROOT

PAGE = (ROOT / "docs/readyz.md").read_text()
SECTIONS = dict(re.findall(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
SAID = set(re.findall(r"`([^`]+)`", " ".join(re.findall(r"^> (.*)$", PAGE, re.MULTILINE))))


def test_every_entry_has_a_section_and_every_section_is_of_an_entry() -> None:
    named = {re.sub(r"\b[A-Z]+(/[A-Z]+)?\b", GAP, it) for it in SECTIONS}
    made = {re.sub(r"\.\.\./\.\.\.", GAP, it) for it in entries()}
    assert named == made, f"docs/readyz.md: write or take away the sections of {sorted(named ^ made)}"


def test_every_sentence_is_on_the_page_as_the_program_says_it() -> None:
    made = sentences()
    assert len(made) > 25
    assert [it for it in sorted(made) if it not in SAID] == [], "docs/readyz.md does not quote these"


@pytest.mark.parametrize("entry", SECTIONS)
def test_a_section_says_what_it_means_where_to_look_and_what_mends_it(entry: str) -> None:
    text = SECTIONS[entry]
    places = [text.find(f"**{part}:**") for part in ("Meaning", "Check", "Mend")]
    assert places == sorted(places)
    assert min(places) > text.find("> ") >= 0


def test_no_sentence_of_the_page_is_gone_from_the_program() -> None:
    known = " ".join(sorted(sentences()))
    assert [it for it in SAID if len(it) > 40 and it not in known] == []
