"""The thread of a web process that looks after the spool: asks the store while it is away, then hands in what waits."""

import errno
import threading
from collections.abc import Callable
from dataclasses import asdict

import structlog

from proxy.errors import SpoolRefused
from proxy.metrics import drained_total
from proxy.store.spool.drain import Drained
from proxy.wiring import SpoolServices

_EVERY_S = 1.0

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
            except Exception:
                log.exception("the spool was not looked after")
            if wait(_EVERY_S):
                return

    def look(self) -> None:
        """The store is known to be there or away, the disk to be good or bad, and what waited is handed in."""
        if self._store.is_away and not self._store.answers():
            if not self._was_away:
                log.warning("the store is away: callbacks are kept on this machine's disk")
            self._was_away = True
            self._mend_disk()
            return
        if self._was_away:
            log.warning("the store is back")
        self._was_away = False
        try:
            for drained in self._drain.run():
                _tell(drained)
        except OSError as error:
            self._tell_disk(errno.errorcode.get(error.errno or 0, type(error).__name__))
        else:
            self._mend_disk()

    def _mend_disk(self) -> None:
        """A disk that failed is tried again: nobody else would, where a balancer sends no callbacks here any more."""
        if not self._spool.has_failed:
            self._disk_failed = False
            return
        try:
            self._spool.try_out()
        except SpoolRefused as refused:
            self._tell_disk(refused.reason)

    def _tell_disk(self, reason: str) -> None:
        if not self._disk_failed:
            log.error("the spool's disk fails", reason=reason)
        self._disk_failed = True


def _tell(drained: Drained) -> None:
    results = ("accepted", "duplicates", "unreadable", "too_old")
    for result in results:
        drained_total.labels(result).inc(getattr(drained, result))
    if drained.unreadable or drained.too_old:
        log.error("spooled callbacks put aside: nobody can read them, or they are too old", **asdict(drained))
    elif drained.accepted or drained.duplicates or drained.cut_off:
        log.info("spooled callbacks handed in", **asdict(drained))
