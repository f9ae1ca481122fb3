"""New inputs from known ones: bytes are turned, words are put in, JSON is changed where it is JSON."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

MOST = 4_096  # bytes of an input

_NUMBERS = (0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**15, 10**30, 1.5, -0.0, 1e308)
_TEXTS = (
    "",
    "0",
    "-1",
    "null",
    "\x00",
    "\ud800",
    "\u202e",
    "é" * 300,
    "👨‍👩‍👧" * 9,
    "=" * 5,
    "9" * 25,
    "a" * 2000,
    "[" * 200,
)
_BYTES = (
    b"",
    b"\x00",
    b"\n",
    b"\xff\xfe",
    b'"',
    b"\\ud800",
    b"{}",
    b"[]",
    b"1e999",
    b"NaN",
    b"-0",
    b"[" * 300,
    b"0" * 5000,
)


def mutated(seed: bytes, other: bytes, words: Sequence[bytes], dice: Random) -> bytes:
    """An input that came out of `seed`, perhaps with a piece of `other`."""
    found = seed
    for _ in range(dice.choice((1, 1, 2, 3, 6))):
        how = dice.random()
        if how < 0.45:
            found = _json_changed(found, dice) or _bytes_changed(found, other, words, dice)
        else:
            found = _bytes_changed(found, other, words, dice)
    return found[:MOST]


def _bytes_changed(seed: bytes, other: bytes, words: Sequence[bytes], dice: Random) -> bytes:
    at = dice.randint(0, len(seed))
    to = min(len(seed), at + dice.choice((0, 1, 1, 4, 16, 200)))
    match dice.randrange(6):
        case 0:  # one bit
            turned = bytes([seed[at] ^ 1 << dice.randrange(8)]) if at < len(seed) else b""
            return seed[:at] + turned + seed[at + 1 :]
        case 1:  # one byte
            return seed[:at] + bytes([dice.randrange(256)]) + seed[at + 1 :]
        case 2:  # a word instead of a piece
            return seed[:at] + dice.choice((*words, *_BYTES)) + seed[to:]
        case 3:  # nothing instead of a piece
            return seed[:at] + seed[to:]
        case 4:  # a piece twice
            return seed[:to] + seed[at:to] * dice.choice((1, 2, 50)) + seed[to:]
        case _:  # a piece of another input
            start = dice.randint(0, len(other))
            return seed[:at] + other[start : start + dice.choice((4, 32, 400))] + seed[to:]


def _json_changed(seed: bytes, dice: Random) -> bytes | None:
    """One value of the JSON in the last lines, changed; None where there is none."""
    head, separator, text = seed.rpartition(b"\n")
    try:
        value = json.loads(text)
        return head + separator + json.dumps(_changed(value, dice), ensure_ascii=dice.random() < 0.5).encode()
    except (ValueError, RecursionError):  # the former also for half a surrogate pair that is not escaped
        return None


def _changed(value: Any, dice: Random) -> Any:
    match value:
        case dict() if value and dice.random() < 0.85:
            name = dice.choice([*value])
            return _member_changed(value, name, dice)
        case list() if value and dice.random() < 0.75:
            at = dice.randrange(len(value))
            return [*value[:at], _changed(value[at], dice), *value[at + dice.randrange(2) :]]
        case _:
            return _replacement(value, dice)


def _member_changed(value: dict[str, Any], name: str, dice: Random) -> dict[str, Any]:
    match dice.randrange(6):
        case 0:
            return {key: own for key, own in value.items() if key != name}
        case 1:
            return value | {name: value[dice.choice([*value])]}
        case _:
            return value | {name: _changed(value[name], dice)}


def _replacement(value: Any, dice: Random) -> Any:
    match dice.randrange(6):
        case 0:
            return dice.choice((None, True, False, [], {}, [None], [[]], {"": None}))
        case 1:
            return dice.choice(_NUMBERS)
        case 2:
            return dice.choice(_TEXTS)
        case 3:
            return [value] * dice.choice((1, 2, 40))
        case 4:
            return str(value) if isinstance(value, int | float) else _number_in(value)
        case _:
            return _nested(value, dice.choice((1, 30, 70)))


def _number_in(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 40 else 7


def _nested(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value
