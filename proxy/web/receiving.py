"""What receipts change in the store, once a second, in a thread of its own: a provider is answered before."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from proxy.domain.receipts import DeliveryReceipt
from proxy.errors import StoreUnavailable
from proxy.metrics import receipts_dropped_total

_EVERY_S = 1.0
_MOST = 10_000  # that wait, in each process

log = structlog.get_logger()
Apply = Callable[[Sequence[DeliveryReceipt]], None]  # the one place where receipts have consequences


class WaitingReceipts:
    """Receipts on their way to the store. Safe to share between threads; `look` is one round."""

    def __init__(self, apply: Apply, most: int = _MOST) -> None:
        """`apply` may raise StoreUnavailable."""
        self._apply, self._most = apply, most
        self._waiting: deque[DeliveryReceipt] = deque()

    def put(self, receipt: DeliveryReceipt) -> None:
        if len(self._waiting) < self._most:
            self._waiting.append(receipt)
        else:
            receipts_dropped_total.labels("too many").inc()

    def look(self) -> None:
        """Hands over all that waits; what the store does not take is counted as lost."""
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not taken:
            return
        try:
            self._apply(list(dict.fromkeys(taken)))
        except StoreUnavailable as error:
            receipts_dropped_total.labels("store away").inc(len(taken))
            log.warning("receipts without a consequence: the store is away", receipts=len(taken), at=error.at)

    def go_on(self, wait: Callable[[float], bool]) -> None:
        """Round after round, until `wait` says that it is over."""
        while not wait(_EVERY_S):
            try:
                self.look()
            except Exception:  # whatever it is: without this thread nothing follows from any receipt
                log.exception("receipts were not looked after")


def start_receiving(waiting: WaitingReceipts) -> None:
    """Every second, until the process ends."""
    threading.Thread(target=waiting.go_on, args=(threading.Event().wait,), name="receipts", daemon=True).start()
