"""Cutting text to size."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.text import cut, is_blank, json_bytes, printable, utf16_units
from tests.channels.pushes import RELAXED, words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("abcdefgh", "abcdefgh"),
        ("abcdefghi", "abcdefg…"),
        ("abcdeé" + "xyz", "abcdeéx…"),
        ("abcdefe\u0301xyz", "abcdef…"),  # an accent of its own
        ("abcde👍🏽xyz", "abcde…"),  # a hand and its skin tone
        ("abc👨\u200d👩\u200d👧xyz", "abc…"),  # a family
        ("abcd🇨🇳🇨🇳", "abcd…"),
        ("abcde🇨🇳🇨🇳", "abcde…"),
        ("🇨🇳🇨🇳🇨🇳", "🇨🇳…"),
        ("ab🇨🇳🇨🇳", "ab🇨🇳…"),
        ("abcdef\r\nxyz", "abcdef…"),
        ("abcdef\u1100\u1161\u11a8xyz", "abcdef…"),  # three letters of one syllable
        ("abcdeक्षि" + "xyz", "abcde…"),  # a conjunct: two consonants that are written as one
        ("abcdefกำxyz", "abcdef…"),  # a vowel of Thai that is no mark
        ("abcdefவெxyz", "abcdef…"),
        ("abcdefשָׁxyz", "abcdef…"),
        ("abcde1\ufe0f\u20e3xyz", "abcde…"),  # a keycap
        ("e" + "\u0301" * 100, "…"),
        ("e\u0301" + "\u0301" * 100, "…"),
    ],
)
def test_text_is_cut_between_characters_as_people_see_them(text: str, shown: str) -> None:
    assert cut(text, 8, utf16_units) == shown


@pytest.mark.parametrize("character", ["🇨", "\u200d", "\u0301", "क्", "\u1100", "👨\u200d"])
def test_a_prank_of_a_character_is_cut_all_the_same(character: str) -> None:
    shown = cut(character * 50_000, 127, utf16_units)
    assert 60 < sum(map(utf16_units, shown)) <= 127


def test_a_pile_of_accents_may_be_cut_inside() -> None:
    assert cut("e" + "\u0301" * 100, 60, utf16_units) == "e" + "\u0301" * 58 + "…"


@RELAXED
@given(text=words, limit=st.integers(3, 400))
def test_a_cut_text_fits_and_says_that_it_is_cut(text: str, limit: int) -> None:
    for cost in (json_bytes, utf16_units):
        shown = cut(text, limit, cost)

        assert sum(map(cost, shown)) <= limit
        assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1]) and sum(map(cost, text)) > limit)


# each is one character as people see it
CHARACTERS = st.sampled_from([
    "a", " ", "é", "e\u0301", "o\u0302\u0323", "你", "👍", "👍🏽", "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "🇨🇳",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1\ufe0f\u20e3", "\u1100\u1161\u11a8",
    "\uff76\uff9e", "\r\n", "न\u0940", "क्षि", "ক্ষ", "நி", "กำ", "ခြေ", "한", "שָׁ", "مُّ", "g\u0308\u0323",
    "👩🏾\u200d🤝\u200d👨🏻", "👨\u200d👩\u200d👧\u200d👦", "🧑🏿\u200d💻", "❤\ufe0f\u200d🔥", "🇺🇳", "#\ufe0f\u20e3",
])  # fmt: skip


@RELAXED
@given(characters=st.lists(CHARACTERS, max_size=30), limit=st.integers(3, 200))
def test_a_cut_is_between_two_characters_and_cutting_again_changes_nothing(characters: list[str], limit: int) -> None:
    text = "".join(characters)
    for cost in (json_bytes, utf16_units):
        shown = cut(text, limit, cost)
        assert cut(shown, limit, cost) == shown
        if shown != text:
            assert shown[:-1] in {"".join(characters[:count]) for count in range(len(characters))}


@RELAXED
@given(text=st.text())
def test_the_costs_are_those_of_the_encoders(text: str) -> None:
    sent = json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")

    assert sum(map(json_bytes, text)) == len(sent) - 2
    assert sum(map(utf16_units, text)) == len(text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.mark.parametrize(("text", "blank"), [("", True), (" \u3000\n\u200b\x00", True), ("👍", False), (" a ", False)])
def test_blank_is_what_shows_nothing(text: str, blank: bool) -> None:
    assert is_blank(text) == blank


@pytest.mark.parametrize("odd", ["\x1b[2J", "\u009b31m", "\u0085", "\u202e", "\u200d", "\ud800", "\U000e0041", "\n"])
def test_what_a_terminal_would_obey_is_shown_as_an_escape_that_json_reads_back(odd: str) -> None:
    shown = printable(json.dumps({"account": f"张三{odd}"}, ensure_ascii=False))
    assert shown.isprintable()
    assert "张三" in shown
    assert json.loads(shown) == {"account": f"张三{odd}"}


def test_line_ends_may_be_kept() -> None:
    assert printable("a\n\u0085", keep="\n") == "a\n\\u0085"
