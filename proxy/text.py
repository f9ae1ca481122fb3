"""People's words in places that were not made for them: cut to a provider's limits, and shown on a terminal."""

import json
import unicodedata
from collections.abc import Callable

ELLIPSIS = "…"
ZERO_WIDTH_JOINER = "\u200d"
_ZERO_WIDTH_NON_JOINER = "\u200c"
# what is still one character after this many code points is a prank, and may be cut inside
_LONGEST_CHARACTER = 32
_WITH_THE_ONE_BEFORE = (
    ("\u1160", "\u11ff"),  # vowels and finals of a Hangul syllable
    ("\uff9e", "\uff9f"),  # voiced marks of half-width Katakana
    ("\U0001f3fb", "\U0001f3ff"),  # skin tones
    ("\U000e0020", "\U000e007f"),  # tags that spell a regional flag
)


def cut(text: str, limit: int, cost: Callable[[str], int]) -> str:
    """The text if it costs at most `limit`, else as many of its first characters as fit, and "…".

    `cost` is of one code point; `limit` is at least the cost of the ellipsis. Never ends inside a character of several
    code points: an accent, a flag, a family.
    """
    used = fitting = 0
    room = limit - cost(ELLIPSIS)
    for index, code_point in enumerate(text):
        used += cost(code_point)
        if used <= room:
            fitting = index + 1
        if used > limit:
            return text[: _last_boundary(text, fitting)] + ELLIPSIS
    return text


def first_characters(text: str, most: int) -> str:
    """The first `most` code points, fewer where the last of them would be half a character."""
    return text if len(text) <= most else text[: _last_boundary(text, most)]


def code_points(_code_point: str) -> int:
    """What counts is how many there are."""
    return 1


def utf16_units(code_point: str) -> int:
    """How often a Java server counts it: twice outside the Basic Multilingual Plane, as most emoji are."""
    return 2 if code_point > "\uffff" else 1


def json_bytes(code_point: str) -> int:
    """Bytes it takes inside a JSON string that is sent as UTF-8."""
    if code_point < " ":
        return 2 if code_point in "\b\t\n\f\r" else 6
    return 2 if code_point in '"\\' else len(code_point.encode("utf-8", "replace"))


def printable(text: str, keep: str = "") -> str:
    """The text with JSON's escapes for what a terminal would obey or hide: control characters, marks that turn a line
    round, invisible ones, halves of surrogate pairs. `keep`: but for these. In a JSON text they change no meaning.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else json.dumps(each)[1:-1] for each in text)


def is_blank(text: str) -> bool:
    """Nothing to see: only separators, controls and invisible format characters."""
    return all(unicodedata.category(code_point)[0] in "ZC" for code_point in text)


def _last_boundary(text: str, end: int) -> int:
    """The last place up to `end` between two characters; the rules of UAX 29 that chat text meets."""
    first = max(end - _LONGEST_CHARACTER, 0)
    return next((place for place in range(end, first, -1) if not _belong_together(text, place)), end if first else 0)


def _belong_together(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    return (
        before == ZERO_WIDTH_JOINER
        or after in (ZERO_WIDTH_JOINER, _ZERO_WIDTH_NON_JOINER)
        or before + after == "\r\n"
        or unicodedata.category(after)[0] == "M"
        or any(first <= after <= last for first, last in _WITH_THE_ONE_BEFORE)
        or (_is_flag_half(after) and _flag_halves_before(text, place) % 2 == 1)
    )


def _flag_halves_before(text: str, place: int) -> int:
    start = place
    while start and _is_flag_half(text[start - 1]):
        start -= 1
    return place - start


def _is_flag_half(code_point: str) -> bool:
    return "\U0001f1e6" <= code_point <= "\U0001f1ff"
