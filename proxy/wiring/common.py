"""What several processes need."""

from datetime import UTC, datetime, timedelta

import structlog

from proxy.domain.devices import APNS_SANDBOX, Device, channels_of
from proxy.domain.lanes import Lane
from proxy.domain.webhooks import Webhook, lane_of_webhook
from proxy.metrics import clock_skew, quota_allowed, quota_used
from proxy.settings import Settings
from proxy.store.devices.removal import RemovalGuard
from proxy.store.server.identity import DataLoss, StoreIdentity
from proxy.usecases.monitor_clock import ClockMonitor
from proxy.usecases.monitor_quota import NamedUse, QuotaMonitor

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


def webhooks_of(settings: Settings) -> list[Webhook]:
    return [
        Webhook(
            lane_of_webhook(settings.apps[it.app].app_id, it.app, it.name),
            frozenset(it.kinds),
            life=it.keep,
            most=it.max_waiting,
            accounts=frozenset(it.accounts),
            topics=frozenset(it.topics),
            passes_authentication=it.pass_authentication,
        )
        for it in settings.webhooks
    ]


def is_on(lane: Lane, settings: Settings) -> bool:
    """False for the lane of a sandbox that the operator switched off."""
    apns = settings.apps[lane.app].apns
    return lane.channel != APNS_SANDBOX or (apns is not None and apns.sandbox)


def channels_on(settings: Settings) -> dict[str, frozenset[str]]:
    """The channels that are on in each section."""
    lanes = [lane for lane in lanes_of(settings) if is_on(lane, settings)]
    return {name: frozenset(lane.channel for lane in lanes if lane.app == name) for name in settings.apps}


def app_ids_of(settings: Settings) -> dict[str, str]:
    """The appId of each section."""
    return {name: app.app_id for name, app in settings.apps.items()}


def risks_of(settings: Settings) -> dict[str, str]:
    """What Xiaomi expects of the settings and does not find, by the setting's name."""
    return {
        f"apps.{name}.mipush.{key}": risk
        for name, app in settings.apps.items()
        for key, risk in (app.mipush.risks if app.mipush else ())
    }


def quota_monitor() -> QuotaMonitor:
    return QuotaMonitor(_show_quota, _log_high_quota)


def _show_quota(named: NamedUse) -> None:
    app, use = named
    quota_used.labels(app).set(use.used)
    quota_allowed.labels(app).set(use.of)


def _log_high_quota(named: NamedUse) -> None:
    app, use = named
    log.warning("four fifths of the day's Mi Push quota are spent", app=app, used=use.used, of=use.of)


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


def log_fault_in_files(why: str) -> None:
    log.error("what changed in a file cannot be used, and what was in use stays", why=why)


def identity_of(settings: Settings) -> StoreIdentity:
    folder = settings.store.spool_dir  # the one place of this machine that is said to outlive us
    file = folder / "known-store" if folder else None
    return StoreIdentity(settings.store.url.get_secret_value(), file, shards=settings.store.shards)


def log_loss(loss: DataLoss) -> None:
    if loss.is_news:
        log.error(loss.sentence, lost_at=loss.at.isoformat(timespec="seconds"))


def removal_guard_of(settings: Settings) -> RemovalGuard:
    return RemovalGuard(settings.devices.removal_guard_share, settings.devices.removal_guard_min)


def log_held(device: Device, devices: int, total: int) -> None:
    log.error(
        "devices are not removed: a provider calls too many of them dead at once. Check topic, environment and "
        "package; /readyz says how to go on",
        app=device.app, channel=device.platform.value, devices=devices, of=total,
    )  # fmt: skip
