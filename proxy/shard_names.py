"""Shards of the store as an operator names them: "0-7,12"."""

import re
from collections.abc import Collection, Iterator

_PART = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_LAST = 1023


def shards_in(text: str) -> frozenset[int]:
    """Raises ValueError."""
    return frozenset(shard for part in text.split(",") for shard in _shards_of(part))


def _shards_of(part: str) -> range:
    found = _PART.fullmatch(part.strip())
    if found is None:
        raise ValueError('expected shards like "0-7" or "0,3,8-11"')
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last <= _LAST:
        raise ValueError(f"expected the lesser shard first, and none above {_LAST}")
    return range(first, last + 1)


def named(shards: Collection[int]) -> str:
    """As above, the shortest."""
    return ",".join(_runs(sorted(shards)))


def _runs(shards: list[int]) -> Iterator[str]:
    start = 0
    for place in range(1, len(shards) + 1):
        if place == len(shards) or shards[place] != shards[place - 1] + 1:
            first, last = shards[start], shards[place - 1]
            yield f"{first}" if first == last else f"{first}-{last}"
            start = place
