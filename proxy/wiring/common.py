"""What several processes need."""

from datetime import UTC, datetime, timedelta

import structlog

from proxy.domain.devices import channels_of
from proxy.domain.lanes import Lane
from proxy.metrics import clock_skew
from proxy.settings import Settings
from proxy.store.server.identity import DataLoss, StoreIdentity
from proxy.usecases.monitor_clock import ClockMonitor

log = structlog.get_logger()


def utc_now() -> datetime:
    return datetime.now(UTC)


def lanes_of(settings: Settings) -> list[Lane]:
    """Every lane that the settings open. An app's sandbox lane is one even while it is off: jobs may wait there."""
    return [
        Lane(app.app_id, name, channel)
        for name, app in settings.apps.items()
        for platform in app.channels
        for channel in channels_of(platform)
    ]


def app_ids_of(settings: Settings) -> dict[str, str]:
    """The appId of each section."""
    return {name: app.app_id for name, app in settings.apps.items()}


def clock_monitor() -> ClockMonitor:
    return ClockMonitor(
        utc_now,
        on_measured=lambda source, skew: clock_skew.labels(source).set(skew.total_seconds()),
        on_wrong=_log_skew,
    )


def _log_skew(source: str, skew: timedelta) -> None:
    log.warning("the clocks differ: one of them is wrong", source=source, ahead_s=round(skew.total_seconds()))


def log_store(setting: str, at: str, error: str) -> None:
    """One line when a store begins to fail, and one when it answers again: requests log each 503 at info."""
    if error:
        log.warning("the store does not answer", setting=setting, at=at, error=error)
    else:
        log.info("the store answers again", setting=setting, at=at)


def identity_of(settings: Settings) -> StoreIdentity:
    folder = settings.store.spool_dir  # the one place of this machine that is said to outlive us
    return StoreIdentity(settings.store.url.get_secret_value(), folder / "known-store" if folder else None)


def log_loss(loss: DataLoss) -> None:
    if loss.is_news:
        log.error(loss.sentence, lost_at=loss.at.isoformat(timespec="seconds"))
