"""JSON without spaces, other letters as they are. `JSONEncoder.encode` builds its encoder in C for each call, which
is a third of what a short text costs; here it is built once.
"""

import json
from collections.abc import Callable, Iterable
from json import encoder
from typing import Any

_PLAIN = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def _made() -> Callable[[Any, int], Iterable[str]]:
    build = getattr(encoder, "c_make_encoder", None)
    if build is None:  # not CPython
        return lambda value, _level: [_PLAIN.encode(value)]
    made: Callable[[Any, int], Iterable[str]] = build(
        None, _PLAIN.default, encoder.encode_basestring, None, ":", ",", False, False, True
    )
    return made


_pieces = _made()


def compact_json(value: object) -> str:
    """Raises TypeError for what JSON cannot say. Nothing in `value` may hold itself."""
    return "".join(_pieces(value, 0))
