"""A callback's body without its proof.

`authentication` fits any body with the same timestamp (docs/callbacks.md): whoever is shown one could forge callbacks.
Nothing else changes, not one byte: ids above 2^53, the order of members, blanks and escapes stay as MIMC wrote them.
"""

import json
from codecs import BOM_UTF8
from typing import Final, NamedTuple

_NAME: Final = "authentication"
_BLANKS: Final = " \t\n\r"
# the values are passed over, not read: numbers of any length are
_VALUES: Final = json.JSONDecoder(parse_int=str, parse_float=str)


class _Member(NamedTuple):
    name: str
    start: int
    end: int


def without_authentication(body: bytes) -> bytes:
    """`body` has been read as a JSON object before. The member goes, also where it is there twice, or with escapes."""
    if _NAME.encode() not in body and b"\\" not in body:  # a name may be written with escapes
        return body
    mark = BOM_UTF8 if body.startswith(BOM_UTF8) else b""
    text = body[len(mark) :].decode()
    members = _members(text)
    if all(it.name != _NAME for it in members):
        return body
    kept = list[str]()
    for place, member in enumerate(members):
        if member.name != _NAME:
            start = members[place - 1].end if kept else member.start  # from the comma on, but for the first
            kept.append(text[start : member.end])
    return mark + (text[: members[0].start] + "".join(kept) + text[members[-1].end :]).encode()


def _members(text: str) -> list[_Member]:
    """Of the object that `text` is."""
    members, at = list[_Member](), _after_blanks(text, 0) + 1
    while text[at := _after_blanks(text, at)] == '"':
        start = at
        name, at = _VALUES.raw_decode(text, at)
        at = _after_blanks(text, _after_blanks(text, at) + 1)  # the colon
        _, at = _VALUES.raw_decode(text, at)
        members.append(_Member(name, start, at))
        at = _after_blanks(text, at)
        if text[at] == ",":
            at += 1
    return members


def _after_blanks(text: str, at: int) -> int:
    while text[at] in _BLANKS:
        at += 1
    return at
