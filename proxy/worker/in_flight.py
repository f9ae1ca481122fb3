"""How many entries of one stream this worker may hold at once."""

import asyncio


class InFlightLimit:
    """Counts down and up; a reader waits until enough places are free that reading stays a batch."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._freed = asyncio.Event()

    @property
    def most(self) -> int:
        return self._most

    @property
    def free(self) -> int:
        """Below 0 after the limit was lowered."""
        return self._most - self._used

    @property
    def used(self) -> int:
        return self._used

    def allow(self, most: int) -> None:
        """From now on so many."""
        if most != self._most:
            self._most = most
            self._freed.set()

    def take(self, count: int) -> None:
        self._used += count

    def release(self, count: int) -> None:
        self._used -= count
        self._freed.set()

    async def changed(self) -> None:
        """Returns once a place was freed, or their number changed."""
        self._freed.clear()
        await self._freed.wait()

    async def worth_reading(self) -> int:
        """How many places are free, once it is worth a read; at once where nothing is in flight."""
        while self._used and self.free < max(1, min(self._most // 8, 50)):
            self._freed.clear()
            await self._freed.wait()
        return self.free
