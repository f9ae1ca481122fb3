"""How much of a provider's daily allowance is spent, section by section."""

import threading
from collections.abc import Callable

from proxy.domain.receipts import QuotaUse
from proxy.domain.transfers import Response

HIGH = 0.8  # of the allowance: time to ask for more, or to send less
_LOOKS_EVERY_S = 1.0
NamedUse = tuple[str, QuotaUse]  # with the section


class QuotaMonitor:
    """`on_measured` hears of every figure; `on_high` once when four fifths are spent, again only after a day began
    anew, which shows by the figure. Safe to share between threads.
    """

    def __init__(self, on_measured: Callable[[NamedUse], None], on_high: Callable[[NamedUse], None]) -> None:
        self._on_measured, self._on_high = on_measured, on_high
        self._high: set[str] = set()
        self._lock = threading.Lock()

    def used(self, app: str, use: QuotaUse) -> None:
        self._on_measured((app, use))
        is_high = use.share >= HIGH
        with self._lock:
            begins = is_high and app not in self._high
            (self._high.add if is_high else self._high.discard)(app)
        if begins:
            self._on_high((app, use))


class QuotaListener:
    """Looks at one answer a second, for reading each would cost more than the news is worth."""

    def __init__(
        self,
        read: Callable[[bytes], QuotaUse | None],
        on_used: Callable[[QuotaUse], None],
        clock: Callable[[], float],
    ) -> None:
        self._read, self._on_used, self._clock = read, on_used, clock
        self._next = float("-inf")

    def heard(self, response: Response) -> None:
        if (now := self._clock()) < self._next:
            return
        self._next = now + _LOOKS_EVERY_S
        if (use := self._read(response.body)) is not None:
            self._on_used(use)
