"""Turns of the event loop, shared by all sources of one worker: where some have little, long work goes in slices.

A batch is worth its size in round trips, and would make everybody else wait for as long as all of it takes. So who
works on a batch asks for a turn after each slice of it: in one turn of the loop one slice goes, in the order in which
they asked. While a small batch is under way the slices wait a little longer. Slices cost a sixth of a push (measured),
so there are none unless both a flood and a small batch were seen a moment ago.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

SLICE = 4  # messages: some 0.2 ms of planning, or of sending
_REMEMBERED_S = 0.25
_MOST_PASSED = 50  # turns that go by for the sake of small batches, of some 5 us where they have nothing to do


class Turns:
    """Of one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._small, self._passed = 0, 0
        self._small_at = self._flood_at = float("-inf")

    @contextmanager
    def small(self, count: int) -> Iterator[None]:
        """Around the work on a batch of so many: while one of at most a slice is under way the others wait."""
        is_small = 0 < count <= SLICE
        self._small += is_small
        try:
            yield
        finally:
            self._small -= is_small
            if is_small:
                self._small_at = asyncio.get_running_loop().time()

    def flood(self) -> None:
        """Some source has much."""
        self._flood_at = asyncio.get_running_loop().time()

    @property
    def are_shared(self) -> bool:
        """Some source has much, and some have little."""
        since = asyncio.get_running_loop().time() - _REMEMBERED_S
        return self._flood_at > since and (self._small > 0 or self._small_at > since)

    async def after(self, place: int) -> None:
        """To be called before each of a batch with its place in it: every now and then it waits for a turn."""
        if place and not place % SLICE:
            if not self.are_shared:
                return
            loop = asyncio.get_running_loop()
            turn = loop.create_future()
            self._waiting.append(turn)
            if len(self._waiting) == 1:
                loop.call_soon(self._give)
            await turn

    def _give(self) -> None:
        if self._small and self._passed < _MOST_PASSED:
            self._passed += 1
        else:
            self._passed = 0
            turn = self._waiting.popleft()
            if not turn.done():  # cancelled while it waited
                turn.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._give)
