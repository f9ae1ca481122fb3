"""People's words in places that were not made for them: cut to a provider's limits, and shown on a terminal."""

import json
import unicodedata
from collections.abc import Callable

import regex

ELLIPSIS = "…"
ZERO_WIDTH_JOINER = "\u200d"
# what is still one character after this many code points is a prank, and may be cut inside
_LONGEST_CHARACTER = 32
# a look back that finds a beginning in all but pranks: 64 flags in a row. \X would take 30 ms for 2,000 of them
_FAR_ENOUGH = 128
_CHARACTER = regex.compile(r"\X")  # an extended grapheme cluster (UAX 29)


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
    """The last place up to `end`, which is within the text, between two characters as people see them (UAX 29)."""
    first = max(end - _FAR_ENOUGH, 0)
    certain = next((it for it in range(end, first, -1) if _is_plain(text[it - 1]) and _is_plain(text[it])), first)
    if certain == end:
        return end
    # whether a place is between two characters depends on what is before it and on the one code point after it
    last: int = max(found.start() for found in _CHARACTER.finditer(text, certain, end + 1))
    return last if end - last < _LONGEST_CHARACTER or end <= _LONGEST_CHARACTER else end


def _is_plain(code_point: str) -> bool:
    """ASCII, or a Chinese character: two of them are never one character, and most texts have them."""
    return " " <= code_point <= "~" or "\u4e00" <= code_point <= "\u9fff"
