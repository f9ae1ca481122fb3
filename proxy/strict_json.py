"""JSON objects, read so that a text means one thing to every reader.

UTF-8 alone, where Python's parser would guess UTF-16 too (RFC 8259, 8.1); no NaN and no Infinity; at most 64 levels,
because how many Python's own parser takes differs from version to version.
"""

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NoReturn

MAX_DEPTH = 64


class BadJson(ValueError):
    """`expected` may be shown. `value` is what was read instead, the bytes where nothing was: it is in no message."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(f"expected {expected}")
        self.expected = expected
        self.value = value


def read_object(
    body: bytes,
    *,
    unique: bool = False,
    parse_int: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], Any] | None = None,
) -> dict[str, Any]:
    """The JSON object that `body` is. Raises BadJson.

    `unique` refuses a member that is named twice: RFC 8259, 4 leaves open which of the two counts, and another reader
    of the same text may have taken the other. Else the last counts.
    """
    hook = _once_each if unique else None
    try:
        value = _decoder(hook, parse_int, parse_float).decode(body.decode())
    except BadJson:
        raise
    except (ValueError, RecursionError):
        # the cause would carry the text into a traceback
        raise BadJson("a JSON object in UTF-8", body) from None
    if not isinstance(value, dict):
        raise BadJson("a JSON object", value)
    may_be_deep = body.count(b"{") + body.count(b"[") > MAX_DEPTH
    if may_be_deep and not _is_within(MAX_DEPTH, value):
        raise BadJson(f"at most {MAX_DEPTH} levels", value)
    return value


@cache
def _decoder(
    hook: Callable[[list[tuple[str, Any]]], Any] | None,
    parse_int: Callable[[str], Any] | None,
    parse_float: Callable[[str], Any] | None,
) -> json.JSONDecoder:
    """`json.loads` makes one for each call."""
    return json.JSONDecoder(
        object_pairs_hook=hook, parse_int=parse_int, parse_float=parse_float, parse_constant=_refuse
    )


def object_or_none(
    body: bytes,
    *,
    parse_int: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], Any] | None = None,
) -> dict[str, Any] | None:
    """The JSON object that `body` is; None for anything else."""
    try:
        return read_object(body, parse_int=parse_int, parse_float=parse_float)
    except BadJson:
        return None


def at(members: object, path: Iterable[str]) -> object:
    """What lies at the end of the names of `path`; None where it ends before."""
    for name in path:
        if not isinstance(members, dict):
            return None
        members = members.get(name)
    return members


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise BadJson("each member once", members)
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are Python's, not JSON's


def _is_within(levels: int, value: object) -> bool:
    """Level by level, so that the check itself cannot run out of stack."""
    level = [value]
    for _ in range(levels):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return True
    return False


def _children(node: object) -> Iterable[object]:
    match node:
        case dict():
            return node.values()
        case list():
            return node
        case _:
            return ()
