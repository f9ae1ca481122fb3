"""A health check whose answer holds for a second, for the check writes and reads the store."""

import threading
import time
from collections.abc import Callable

from proxy.domain.monitoring import Health
from proxy.ports import HealthCheck

_HOLDS_S = 1.0


class RememberedHealth:
    """Implements ports.HealthCheck. Safe to share between threads: callers that come together wait for one check."""

    def __init__(self, health: HealthCheck, clock: Callable[[], float] = time.monotonic) -> None:
        self._health, self._clock = health, clock
        self._lock = threading.Lock()
        self._known: Health | None = None
        self._until = 0.0

    def check(self) -> Health:
        with self._lock:
            if self._known is None or self._clock() >= self._until:
                self._known = self._health.check()
                self._until = self._clock() + _HOLDS_S
            return self._known
