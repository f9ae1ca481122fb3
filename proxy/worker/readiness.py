"""What a worker says of itself: whether it works, and if not, why. For its own /readyz, the web's, and the log."""

import time
from collections.abc import Callable, Mapping

import structlog

_FRESH_S = 10.0

log = structlog.get_logger()


class Readiness:
    """`instance` names the worker. Read by the operator's listener in a thread of its own."""

    def __init__(self, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.instance = instance
        self._clock = clock
        self._stalls: dict[str, str] = {}
        self._taken_at = float("-inf")
        self.store_answers = True

    def take(self, stalls: Mapping[str, str]) -> dict[str, str]:
        """`stalls`: why each lane makes no progress, "" where it does. A lane that begins or ends to stall is logged.

        Returns what goes to the store: the state and, for each lane that stalls, why.
        """
        now_stalled = {lane: why for lane, why in stalls.items() if why}
        for lane, why in now_stalled.items():
            if lane not in self._stalls:
                log.error("lane makes no progress", lane=lane, why=why)
        for lane in self._stalls.keys() - now_stalled.keys():
            log.info("lane makes progress again", lane=lane)
        self._stalls, self._taken_at = now_stalled, self._clock()
        return {"state": "stalled" if now_stalled else "ok", **now_stalled}

    def details(self) -> tuple[bool, dict[str, str]]:
        """For /readyz: whether this worker can do its work, and sentences for a person."""
        if self._clock() - self._taken_at > _FRESH_S:
            return False, {"worker": "its event loop has not run for 10 s"}
        if not self.store_answers:
            return False, {"store": "does not answer: nothing is pushed until it does"}
        if self._stalls:
            return False, {f"lane {lane}": f"makes no progress: {why}" for lane, why in self._stalls.items()}
        return True, {"worker": "works"}
