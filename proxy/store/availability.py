"""Whether it is worth asking: one caller a second tries what failed, the others are told at once."""

import threading
from collections.abc import Callable

from proxy.errors import StoreUnavailable

_PROBE_EVERY_S = 1.0
_PROBE_OVERDUE_S = 2.0
_PROBE_TAKES_S = 0.1  # at most, where the store is well again


class Availability:
    """Of one server, or of one slot. Safe to share between threads.

    After a failure one caller a second tries again. Concurrent callers wait briefly for what it finds: a callback
    refused then may have been MIMC's last try. All others get the error at once.
    """

    def __init__(self, at: str, clock: Callable[[], float], on_change: Callable[[str, str], None]) -> None:
        """`on_change` is called with `at` when it begins to fail, with the error, and "" when it answers again."""
        self._at, self._clock, self._on_change = at, clock, on_change
        self._probed = threading.Condition()
        self.next_probe: float | None = None  # None: it answered last time
        self._probe_ends = 0.0  # until then a caller is trying
        self._failed = False

    @property
    def is_away(self) -> bool:
        """It did not answer last time. False again where it was not asked for a while, so that it is asked."""
        due = self.next_probe
        return due is not None and self._clock() < due + _PROBE_OVERDUE_S

    def admit(self) -> None:
        """Returns for a caller that may ask. Raises StoreUnavailable."""
        if self.next_probe is None:
            return
        with self._probed:
            now = self._clock()
            if self.next_probe is not None and now >= self.next_probe:
                self.next_probe, self._probe_ends = now + _PROBE_EVERY_S, now + _PROBE_TAKES_S
                return
            if now < self._probe_ends:
                self._probed.wait(self._probe_ends - now)
            if self.next_probe is not None:
                raise StoreUnavailable("the store does not answer", self._at)

    def failed(self, error: str) -> None:
        self._learn(self._clock() + _PROBE_EVERY_S, error)

    def answered(self) -> None:
        if self.next_probe is not None:
            self._learn(None)

    def _learn(self, next_probe: float | None, error: str = "") -> None:
        with self._probed:
            is_news = self._failed != bool(error)
            self._failed = bool(error)
            self.next_probe, self._probe_ends = next_probe, 0.0
            self._probed.notify_all()
        if is_news:
            self._on_change(self._at, error)
