"""A process that knows when it stood still."""

import asyncio
from dataclasses import dataclass

from proxy.worker.stalls import Stalls


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_process_that_was_stopped_knows_it_before_and_after_its_next_tick_and_then_forgets() -> None:
    async def scenario() -> None:
        clock = Clock()
        stalls = Stalls(clock)
        clock.now += 60
        assert not stalls.lately()  # nobody watches yet
        stalls.watch()
        for _ in range(8):
            clock.now += 0.5
            stalls.tick()
            assert not stalls.lately()
        clock.now += 3
        assert stalls.lately()
        stalls.tick()
        assert stalls.lately()
        clock.now += 0.9
        stalls.tick()
        assert stalls.lately()
        clock.now += 0.2
        stalls.tick()
        assert not stalls.lately()
        stalls.end()

    asyncio.run(scenario())
