"""How much a lane may hold, where it lies in several shards.

The cap is the lane's, and no step sees more than one shard. So a process knows the sum as it was a second ago; below
the cap a shard takes up to four times its share, for no account's messages must wait because others write more. Where
that is next to nothing a shard may have as much as the lane, which then exceeds its cap for a second.
"""

from proxy.domain.lanes import Source

_SHARES = 4
_LEAST = 1000


class Caps:
    """Of the sources of one kind, as one process knows them."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._sums: dict[Source, int] = {}

    def learn(self, source: Source, length: int) -> None:
        """It held so many just now."""
        self._sums[source] = length

    def of_shard(self, source: Source, shards: int) -> int:
        """What one of its shards may hold now."""
        if shards <= 1:
            return self._cap
        if self._sums.get(source, 0) >= self._cap:
            return 0
        return min(max(self._cap * _SHARES // shards, _LEAST), self._cap)
