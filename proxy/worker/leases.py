"""What this worker instance has claimed and not settled, and until when it may act on it."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from redis.exceptions import ResponseError

from proxy.domain.lanes import Source
from proxy.domain.settlements import Renewed

Renew = Callable[[Source, Sequence[bytes]], Awaitable[Renewed]]
_NEVER = float("-inf")


class Leases:
    """Entries by source, each with the moment of its last good claim or renewal, on the monotonic clock.

    That moment is taken before the call to the store, so that it is never later than the store's own. A worker that was
    stopped for longer than the lease finds all its entries stale when it goes on.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._renewed: dict[Source, dict[bytes, float]] = {}

    def clock(self) -> float:
        return self._clock()

    def take(self, source: Source, ids: Iterable[bytes], since: float) -> None:
        self._renewed.setdefault(source, {}).update(dict.fromkeys(ids, since))

    def drop(self, source: Source, ids: Iterable[bytes]) -> None:
        renewed = self._renewed.get(source, {})
        for id_ in ids:
            renewed.pop(id_, None)

    def until(self, source: Source, ids: Iterable[bytes]) -> float:
        """The last moment at which all of them are still ours, as far as this process can know."""
        renewed = self._renewed.get(source, {})
        return min((renewed.get(id_, _NEVER) for id_ in ids), default=_NEVER) + self._lease_s

    def may_act(self, source: Source, ids: Iterable[bytes]) -> bool:
        """All of them are still ours now."""
        return self._clock() < self.until(source, ids)

    def count(self) -> int:
        return sum(map(len, self._renewed.values()))

    async def renew(self, renew: Renew) -> int:
        """Renew every lease; an entry that is no longer ours is dropped. Returns how many were lost.

        A source with a key that is broken keeps no other from being renewed: its error is raised at the end.
        """
        lost = 0
        refused: ResponseError | None = None
        for source, renewed in list(self._renewed.items()):  # one may come in while we wait for the store
            ids = list(renewed)
            if not ids:
                continue
            since = self._clock()
            try:
                answer = await renew(source, ids)
            except ResponseError as error:
                refused = error
                continue
            lost += sum(id_ in renewed for id_ in answer.lost)  # the others were settled while we asked
            self.drop(source, answer.lost)
            unknown = {*answer.unknown}
            for id_ in ids:
                if id_ in renewed and id_ not in unknown:
                    renewed[id_] = max(since, renewed[id_])
        if refused is not None:
            raise refused
        return lost
