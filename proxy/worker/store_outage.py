"""A store that is away is told once, though a dozen loops of a worker find it out, and again after each try."""

import asyncio
from weakref import WeakSet

import structlog
from redis.exceptions import RedisError

log = structlog.get_logger()


class StoreOutage:
    """Of one worker. `at` is the store's host and port; a failure is known by the asyncio task that had it."""

    def __init__(self, at: str = "") -> None:
        self._at = at
        self._failing: WeakSet[object] = WeakSet()  # one that ends forgets its failure
        self._is_told = False

    def failed(self, error: RedisError) -> None:
        """The store gave the running task no answer, or can do nothing now."""
        self._failing.add(asyncio.current_task())
        if not self._is_told:
            self._is_told = True
            log.warning("the store does not answer, waiting", at=self._at, error=type(error).__name__)

    def answered(self) -> None:
        """It served the running task. The outage is over once it has served all that it had failed."""
        if self._is_told:
            self._failing.discard(asyncio.current_task())
            if not self._failing:
                self._is_told = False
                log.info("the store answers again", at=self._at)
