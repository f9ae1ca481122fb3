"""Places for requests, given to several lanes in the order in which they asked."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable


class Places:
    """`room` says how many requests may leave now, without those that are reserved already.

    A caller waits behind those who wait already, so a busy lane cannot starve another one. Places that become free in
    one turn of the loop are given out together.
    """

    def __init__(self, room: Callable[[], int]) -> None:
        self._room = room
        self.reserved = 0
        self._waiting: deque[tuple[int, asyncio.Future[int]]] = deque()
        self._is_due = False
        self._is_closed = False

    async def reserve(self, most: int) -> int:
        """Wait for at least one place; take up to `most`."""
        granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((most, granted))
        self._grant()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give_back(granted.result())
            raise

    def take(self, most: int) -> int:
        """Up to `most` places that are free now; none where another caller waits."""
        if self._waiting:
            return 0
        places = max(min(most, self._room() - self.reserved), 0)
        self.reserved += places
        return places

    def use(self) -> None:
        """One reserved place is used by a request."""
        self.reserved -= 1

    def give_back(self, places: int) -> None:
        self.reserved -= places
        self.changed()

    def changed(self) -> None:
        """There may be more room than before."""
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._grant)

    def close(self) -> None:
        """Release waiting and later callers: their requests end at once."""
        self._is_closed = True
        self.changed()

    def _grant(self) -> None:
        self._is_due = False
        free = sys.maxsize if self._is_closed else self._room() - self.reserved
        while self._waiting and free > 0:
            most, granted = self._waiting.popleft()
            if granted.done():  # cancelled while waiting
                continue
            places = min(most, free)
            self.reserved += places
            free -= places
            granted.set_result(places)
