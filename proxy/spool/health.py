"""The spool's state, for an operator."""

from collections.abc import Callable
from datetime import datetime

from proxy.domain.monitoring import Health, Metric
from proxy.ports import HealthCheck
from proxy.spool.folder import Spool, Waiting
from proxy.store.connection import Store

_OFF = (
    "off (store.spool_dir): while the store is away callbacks are answered 503, and MIMC gives one up after 5 min 35 s"
)


class SpoolHealth:
    """Implements ports.HealthCheck around the store's own.

    A process is ready while it can take callbacks for good. MIMC repeats one for 5 min 35 s only, and without a store
    every process fares the same: keep them in rotation to accept callbacks. Tokens and devices are answered 503
    meanwhile, each with a time to come back.
    """

    def __init__(self, inner: HealthCheck, store: Store, spool: Spool | None, now: Callable[[], datetime]) -> None:
        self._inner = inner
        self._store = store
        self._spool = spool
        self._now = now

    def check(self) -> Health:
        health = self._inner.check()
        if self._spool is None:
            return Health(health.ready, {**health.details, "spool": _OFF})
        away, refusal, waiting = self._store.is_away, self._spool.refusal(self._now()), self._spool.waiting()
        details = {**health.details, "spool": _sentence(waiting, away=away and refusal is None)}
        if refusal:
            details["spool error"] = f"{refusal.detail}; callbacks are answered 503 while the store is away"
        if waiting.rejected_files:
            details["spool rejected"] = f"{waiting.rejected_files} files of callbacks that were unreadable or too old"
        return Health(health.ready or (away and refusal is None), details)


class SpoolMetrics:
    """Implements ports.StoreMetrics: what lies in the machine's folder, whichever process is asked."""

    def __init__(self, spool: Spool, now: Callable[[], datetime]) -> None:
        self._spool = spool
        self._now = now

    def read(self) -> list[Metric]:
        found = self._spool.waiting()
        age_s = max(0.0, (self._now() - found.oldest).total_seconds()) if found.oldest else 0.0
        return [
            Metric("app_proxy_spool_callbacks_waiting", "Callbacks kept on disk for the store", {}, found.callbacks),
            Metric("app_proxy_spool_bytes", "Size of the spool's files", {}, found.size),
            Metric("app_proxy_spool_oldest_seconds", "Age of the oldest callback on disk", {}, age_s),
            Metric(
                "app_proxy_spool_files_unreadable",
                "Files of callbacks that can never be handed in",
                {},
                found.rejected_files,
            ),
        ]


def _sentence(waiting: Waiting, *, away: bool) -> str:
    kept = f"{waiting.callbacks} wait, {waiting.size} bytes"
    if waiting.oldest:
        kept += f", oldest since {waiting.oldest:%Y-%m-%d %H:%M:%S} UTC"
    if away:
        return (
            f"on: the store is away, callbacks are kept on this machine's disk and answered 200: {kept}; "
            "tokens and devices are answered 503"
        )
    if waiting.callbacks:
        return f"on: callbacks are kept on this machine's disk until the store has them: {kept}"
    return "on: while the store is away callbacks are kept on this machine's disk; none waits"
