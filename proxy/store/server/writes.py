"""Has the store gone back in time? Each accepted callback and settlement raises a counter of its appId and shard.

The answer says how far it is. A process remembers the highest number that it has seen: an answer to a later question
that is not higher comes from a store that lost writes. It was restored from an old backup, or a replica that lagged was
promoted. An earlier program raises no counter, which lowers none either.
"""

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """What was known of a counter when a question was asked; `store` counts the stores known before."""

    highest: int
    store: int


class CountedWrites:
    """The counters as one process knows them. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._highest: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._store = 0

    def known(self, counter: str) -> Known:
        """To be taken before the question leaves."""
        return Known(self._highest.get(counter, 0), self._store)

    def answered(self, counter: str, known: Known, count: int) -> None:
        """The store says that it has counted so many, after it was asked when `known` was known."""
        with self._lock:
            if known.store != self._store:
                return
            if count <= known.highest:
                self._lost[counter] = max(known.highest + 1 - count, self._lost.get(counter, 0))
                self._highest[counter] = count
            else:
                self._highest[counter] = max(count, self._highest.get(counter, 0))

    def take_lost(self) -> int:
        """How many writes were lost, as far as this process learned since it was asked last."""
        with self._lock:
            lost, self._lost = sum(self._lost.values()), {}
        return lost

    def reset(self) -> None:
        """It is another store, whose counters begin anew."""
        with self._lock:
            self._highest, self._lost = {}, {}
            self._store += 1
