"""The thread of a web process that drains the spool: asks the store while it is away, then hands in what waits."""

import errno
import threading
from collections.abc import Callable
from dataclasses import asdict

import structlog

from proxy.errors import SpoolRefused
from proxy.metrics import drained_total
from proxy.spool.drain import Drained
from proxy.web.services import SpoolServices

_EVERY_S = 1.0
_AWAY, _BACK = "the store is away: callbacks are kept on this machine's disk", "the store is back"

log = structlog.get_logger()


def start_draining(services: SpoolServices) -> None:
    """At once and then every second, until the process ends: a kill at any moment loses nothing."""
    draining = Draining(services)
    threading.Thread(target=draining.go_on, args=(threading.Event().wait,), name="draining", daemon=True).start()


class Draining:
    """`look` is one round."""

    def __init__(self, services: SpoolServices) -> None:
        self._store = services.store
        self._spool = services.spool
        self._drain = services.drain
        self._was_away = self._disk_failed = False

    def go_on(self, wait: Callable[[float], bool]) -> None:
        """Round after round, until `wait` says that it is over."""
        while True:
            try:
                self.look()
            except Exception:  # whatever it is: without this thread what is on the disk stays there
                log.exception("the spool was not looked after")
            if wait(_EVERY_S):
                return

    def look(self) -> None:
        """Learns whether the store is there and the disk works, and hands in what waited."""
        failed = ""
        if not self._store.is_away or self._store.answers():
            failed = self._hand_in()
        if self._store.is_away != self._was_away:  # also a store that answers, but refuses writes, is away
            self._was_away = not self._was_away
            log.warning(_AWAY if self._was_away else _BACK)
        failed = failed or self._mend_disk()
        if failed and not self._disk_failed:
            log.error("the spool's disk fails", reason=failed)
        self._disk_failed = failed != ""

    def _hand_in(self) -> str:
        """How the disk failed, "" where it did not."""
        try:
            for drained in self._drain.run():
                _tell(drained)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, type(error).__name__)
        return ""

    def _mend_disk(self) -> str:
        """The same. A disk that failed is tried again, for a balancer may send no callback here now."""
        if self._spool.has_failed:
            try:
                self._spool.try_out()
            except SpoolRefused as refused:
                return refused.reason
        return ""


def _tell(drained: Drained) -> None:
    results = ("accepted", "duplicates", "unreadable", "too_old")
    for result in results:
        drained_total.labels(result).inc(getattr(drained, result))
    if drained.unreadable or drained.too_old:
        log.error("spooled callbacks rejected: unreadable or too old", **asdict(drained))
    elif drained.accepted or drained.duplicates or drained.cut_off:
        log.info("spooled callbacks handed in", **asdict(drained))
