"""What this worker instance has claimed and not settled, and until when it may act on it."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

Renew = Callable[[str, Sequence[bytes]], Awaitable[list[bytes]]]


class Holdings:
    """Entries by stream, each with the moment of its last good claim or renewal, on the monotonic clock.

    That moment is taken before the call to the store, so that it is never later than the store's own. Whoever is
    stopped for longer than the lease finds all his entries stale when he goes on.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._renewed: dict[str, dict[bytes, float]] = {}

    def clock(self) -> float:
        return self._clock()

    def take(self, stream: str, ids: Iterable[bytes], since: float) -> None:
        self._renewed.setdefault(stream, {}).update(dict.fromkeys(ids, since))

    def drop(self, stream: str, ids: Iterable[bytes]) -> None:
        held = self._renewed.get(stream, {})
        for id_ in ids:
            held.pop(id_, None)

    def may_act(self, stream: str, ids: Iterable[bytes]) -> bool:
        """All of them are still ours, as far as we can know."""
        held, now = self._renewed.get(stream, {}), self._clock()
        return all(now - held.get(id_, float("-inf")) < self._lease_s for id_ in ids)

    def count(self) -> int:
        return sum(map(len, self._renewed.values()))

    async def renew(self, renew: Renew) -> int:
        """Renew everything held; what is no longer ours is forgotten. Returns how many were lost."""
        lost = 0
        for stream, held in list(self._renewed.items()):  # a stream may come in while we wait for the store
            ids = list(held)
            if not ids:
                continue
            since = self._clock()
            gone = await renew(stream, ids)
            lost += sum(id_ in held for id_ in gone)  # the others were settled while we asked
            self.drop(stream, gone)
            for id_ in ids:
                if id_ in held:
                    held[id_] = max(since, held[id_])
        return lost
