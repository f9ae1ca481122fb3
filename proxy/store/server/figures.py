"""The last hour by the minute, the last day by the quarter of an hour: small hashes that all workers add to.

A hash has a field for each lane and outcome that there was, and one for each bound of the latency: some twenty. They
all lie in one slot, and each ends by itself.
"""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from proxy.domain.figures import DAY, HOUR, Figures, Ring
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import Command, ask_now, ask_strictly

_LATE = timedelta(seconds=30)  # a worker has added by then what it did


class FiguresKeeper:
    """The worker's side."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def add(self, sums: Mapping[str, int], now: datetime) -> None:
        """To the spans that `now` lies in. Raises RedisError."""
        commands = list[Command]()
        for ring in (HOUR, DAY):
            name = keys.figures(ring.seconds, ring.start_of(now))
            commands += [("HINCRBY", name, field, count) for field, count in sums.items()]
            commands.append(("EXPIRE", name, (ring.kept + 1) * ring.seconds))
        await ask_strictly(self._redis, commands)


class FiguresReader:
    """The web's side. What is over changes no more and is read once. Safe to share between threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[Ring, int], Figures] = {}
        self._lock = threading.Lock()

    def of(self, ring: Ring, now: datetime) -> dict[int, Figures]:
        """By the start of each span, the oldest first; the last one still runs. Raises StoreUnavailable."""
        starts = ring.starts(now)
        with self._lock:
            known = {start: self._known[ring, start] for start in starts if (ring, start) in self._known}
        asked = [start for start in starts if start not in known]
        commands: list[Command] = [("HGETALL", keys.figures(ring.seconds, start)) for start in asked]
        answers = self._store.call(partial(ask_now, commands=commands))
        found = {start: _figures(answer) for start, answer in zip(asked, answers, strict=True)}
        over = (now - _LATE).timestamp() - ring.seconds
        with self._lock:
            self._known = {at: its for at, its in self._known.items() if at[0] != ring or at[1] in known}
            self._known |= {(ring, start): its for start, its in found.items() if start <= over}
        return {start: (known | found)[start] for start in starts}


def _figures(answer: list[bytes]) -> Figures:
    return Figures({name.decode(): int(count) for name, count in zip(answer[::2], answer[1::2], strict=True)})
