"""Did this process itself get no processor time?"""

import asyncio
import time
from collections.abc import Callable

_TICK_S = 0.25
_GAP_S = 1.0


class EventLoopWatchdog:
    """Ticks on the event loop, and notices when ticks failed to come: the process was stopped, or starved.

    What timed out meanwhile says nothing about a provider. A plain timer is called before any task goes on that such a
    time-out wakes, so `was_late` is true by then.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ticked_at = clock()
        self._late_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to tick on the running loop."""
        self._ticked_at = self._clock()
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self.tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def was_late(self) -> bool:
        """True while a tick is overdue, and for a second after a late one."""
        now = self._clock()
        return self._timer is not None and max(now - self._ticked_at - _GAP_S, self._late_at + _GAP_S - now) > 0

    def tick(self) -> None:
        now = self._clock()
        if now - self._ticked_at > _GAP_S:
            self._late_at = now
        self._ticked_at = now
        if self._timer is not None:
            self._timer = asyncio.get_running_loop().call_later(_TICK_S, self.tick)
