"""Calls by address as this process knows them, between two talks with the store.

Each call is counted here first: one that is beyond the limit, as far as this process knows, costs no round trip. What
was let pass is handed to the store with the next round trip there is, and the store's answer, which all processes
share, takes the place of what was known.
"""

import threading
from collections import OrderedDict

from proxy.domain.limits import Budget, Exceeded, Window

_MOST = 20_000  # addresses; beyond it the one that was quiet longest is forgotten


class LocalCounts:
    """Safe to share between threads. Times are ms since 1970, as the store has them."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], tuple[Window, int]] = OrderedDict()

    def count(self, budget: Budget, now_ms: int) -> Exceeded | None:
        """Counts one call; None: it is within the budget."""
        with self._lock:
            window, unshared = self._at(budget, now_ms)
            wait_ms = window.wait_ms(now_ms, budget)
            if wait_ms:
                return Exceeded(budget, wait_ms)
            self._keep(budget, window.plus(1), unshared + 1)
            return None

    def take(self, budget: Budget, now_ms: int) -> int:
        """How many calls the store has not heard of; it is going to."""
        with self._lock:
            window, unshared = self._at(budget, now_ms)
            if unshared:
                self._keep(budget, window, 0)
            return unshared

    def give_back(self, budget: Budget, calls: int, now_ms: int) -> None:
        """The store did not hear of these."""
        with self._lock:
            window, unshared = self._at(budget, now_ms)
            self._keep(budget, window, unshared + calls)

    def learn(self, budget: Budget, shared: Window, now_ms: int) -> None:
        """What the store has counted, for all processes."""
        with self._lock:
            unshared = self._at(budget, now_ms)[1]
            self._keep(budget, shared.plus(unshared), unshared)

    def _at(self, budget: Budget, now_ms: int) -> tuple[Window, int]:
        window, unshared = self._known.get((budget.name, budget.caller), (Window(now_ms), 0))
        window = window.at(now_ms, budget.span_ms)
        return window, min(unshared, window.count)

    def _keep(self, budget: Budget, window: Window, unshared: int) -> None:
        place = (budget.name, budget.caller)
        self._known[place] = (window, unshared)
        self._known.move_to_end(place)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
