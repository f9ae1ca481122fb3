"""How many messages an app may push in a second. MIMC refuses what is above; how it says so is not documented."""

import threading
from collections import deque

from proxy.emulators.mimc.refusals import TOO_MANY, Refused


class Quota:
    """At most `per_second` messages of an app in any one second; 0 for no limit. Safe to use from several threads."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._pushed: dict[str, deque[tuple[float, int]]] = {}
        self._lock = threading.Lock()

    def take(self, app_id: str, messages: int, now: float) -> None:
        """`now` is of a monotonic clock, in seconds. Raises Refused, and then counts none of them."""
        if not self._per_second:
            return
        with self._lock:
            pushed = self._pushed.setdefault(app_id, deque())
            while pushed and pushed[0][0] <= now - 1:
                pushed.popleft()
            if sum(count for _, count in pushed) + messages > self._per_second:
                raise Refused(TOO_MANY, f"too many messages: {self._per_second} in a second")
            pushed.append((now, messages))
