"""A process that knows when it got no processor time."""

import asyncio
from dataclasses import dataclass

from proxy.worker.event_loop_watchdog import EventLoopWatchdog


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_process_that_was_stopped_knows_it_before_and_after_its_next_tick_and_then_forgets() -> None:
    async def scenario() -> None:
        clock = Clock()
        watchdog = EventLoopWatchdog(clock)
        clock.now += 60
        assert not watchdog.was_late()  # it has not begun
        watchdog.start()
        for _ in range(8):
            clock.now += 0.5
            watchdog.tick()
            assert not watchdog.was_late()
        clock.now += 3
        assert watchdog.was_late()
        watchdog.tick()
        assert watchdog.was_late()
        clock.now += 0.9
        watchdog.tick()
        assert watchdog.was_late()
        clock.now += 0.2
        watchdog.tick()
        assert not watchdog.was_late()
        watchdog.stop()

    asyncio.run(scenario())
