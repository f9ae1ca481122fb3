"""The way back: devices that a provider's answer removed in the last week, and the removal guard for the operator."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from operator import itemgetter

from proxy.domain.callbacks import digest
from proxy.domain.devices import Device, Platform, platform_of
from proxy.domain.lanes import Lane
from proxy.domain.monitoring import Metric
from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Commands, Store
from proxy.store.devices.registry import registration_parts
from proxy.store.records import device_or_none
from proxy.store.scripts import Argument, script

HOUR = timedelta(hours=1)
_PAGE = 500


@dataclass(frozen=True)
class RemovedDevice:
    """A registration as it was, and when a provider's answer ended it."""

    device: Device
    at: datetime


class RestoreResult(StrEnum):
    """What became, or would become, of a device that is to come back."""

    RESTORED = "restored"
    GONE = "it was restored, registered or removed meanwhile"
    TOKEN_REGISTERED = "its push token is registered"  # noqa: S105  no password
    DEVICE_REGISTERED = "the device is registered"
    NO_ROOM = "the account has its most devices"


_RESTORINGS = {
    0: RestoreResult.GONE,
    1: RestoreResult.RESTORED,
    2: RestoreResult.TOKEN_REGISTERED,
    3: RestoreResult.DEVICE_REGISTERED,
    4: RestoreResult.NO_ROOM,
}


class RedisRemovedDevices:
    """For the command line. Every call raises StoreUnavailable."""

    def __init__(self, store: Store, app_ids: Mapping[str, str], per_account: int = 10) -> None:
        self._store = store
        self._app_ids = app_ids
        self._per_account = per_account

    def removed(self, app: str, since: datetime) -> Iterator[RemovedDevice]:
        """Those of a section that were removed since then and did not come back, the oldest first."""
        indexes = [keys.removed(self._app_ids[app], app, platform) for platform in Platform]
        found = self._store.call(partial(_names, indexes=indexes, since=since))
        names = [name for name, _ in sorted(found, key=itemgetter(1))]
        for start in range(0, len(names), _PAGE):
            yield from self._store.call(partial(_read, app=app, names=names[start : start + _PAGE]))

    def restore(self, removed: RemovedDevice, *, only_ask: bool = False) -> RestoreResult:
        """Its registration holds again, unless its device or its push token was registered since."""
        device, app = removed.device, removed.device.app
        app_id = self._app_ids[app]
        names = [
            self._store.layout.removed_registration(app_id, app, device.platform, device.push_token),
            self._store.layout.account(app_id, app, device.account),
            self._store.layout.push_token(app_id, app, device.platform, device.push_token),
            self._store.layout.removed_of_account(app_id, app, device.account),
            keys.removed(app_id, app, device.platform),
            keys.held(app_id, app, device.platform),
        ]
        args: list[Argument] = [
            digest(device.account), device.device_id, keys.DEVICE_TTL_S, self._per_account, int(only_ask)
        ]  # fmt: skip
        return _RESTORINGS[self._store.call(lambda redis: script("restore_device").run(redis, names, args))]

    def release(self, app: str, until: datetime) -> None:
        """Until then the section's removal guards keep nothing: its devices really are dead."""
        app_id = self._app_ids[app]

        def do(redis: Commands) -> None:
            pipe = redis.pipeline(transaction=True)
            for platform in Platform:
                removal_guard = keys.removal_guard(app_id, app, platform)
                pipe.hset(removal_guard, "released", to_ms(until))
                pipe.hdel(removal_guard, "since", "last")
                pipe.expire(removal_guard, keys.REMOVAL_GUARD_TTL_S)
                pipe.delete(keys.held(app_id, app, platform))
            pipe.execute()

        self._store.call(do)


def guard_details(redis: Commands, lanes: Sequence[Lane], now: datetime) -> dict[str, str]:
    """A sentence for each app and platform whose removal guard kept devices within the last hour, for /readyz."""
    pipe, platforms = redis.pipeline(transaction=False), _platforms(lanes)
    for app_id, app, platform in platforms:
        pipe.hmget(keys.removal_guard(app_id, app, platform), "since", "last", "count", "all")
    sentences = {}
    for (_, app, platform), (since, last, count, total) in zip(platforms, pipe.execute(), strict=True):
        if since and last and from_ms(int(last)) > now - HOUR:
            sentences[f"devices of {app}/{platform}"] = (
                f"kept by the removal guard since {from_ms(int(since)):%Y-%m-%d %H:%M:%S} UTC: the provider called "
                f"{int(count)} of {int(total)} dead within an hour. Check topic, environment and package, then bring "
                f"back those removed before: app-proxy devices restore --app {app}. If they are dead: "
                f"app-proxy devices release {app}"
            )
    return sentences


def removal_metrics(redis: Commands, lanes: Sequence[Lane], now: datetime) -> list[Metric]:
    """How many devices of each app and platform were removed, and kept by the removal guard within the last hour."""
    pipe, platforms = redis.pipeline(transaction=False), _platforms(lanes)
    for where in platforms:
        pipe.zcard(keys.removed(*where))
        pipe.zcount(keys.held(*where), to_ms(now - HOUR), "+inf")
    answers = iter(pipe.execute())
    rows = []
    for _, app, platform in platforms:
        labels = {"app": app, "channel": platform}
        rows.append(Metric("app_proxy_devices_removed", "Devices removed in 7 days", labels, next(answers)))
        help_ = "Devices that the provider called dead in the last hour and the removal guard kept"
        rows.append(Metric("app_proxy_devices_kept_by_guard", help_, labels, next(answers)))
    return rows


def _platforms(lanes: Sequence[Lane]) -> list[tuple[str, str, str]]:
    """appId, section and platform of the lanes' devices, each once: two lanes of APNs reach the same devices."""
    return list(dict.fromkeys((lane.app_id, lane.app, platform_of(lane.channel)) for lane in lanes))


def _names(redis: Commands, indexes: Sequence[str], since: datetime) -> list[tuple[bytes, float]]:
    """The keys of removed registrations, and when each was removed."""
    pipe = redis.pipeline(transaction=False)
    for index in indexes:
        pipe.zrangebyscore(index, to_ms(since), "+inf", withscores=True)
    return [(name, at) for found in pipe.execute() for name, at in found]


def _read(redis: Commands, app: str, names: Sequence[bytes]) -> list[RemovedDevice]:
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hmget(name, "device", "forgotten", "registration", "trouble")
    found = (_removed(app, *answer) for answer in pipe.execute() if answer[2])
    return [removed for removed in found if removed]


def _removed(
    app: str, device_id: bytes, at: bytes, registration: bytes, invalid_reason: bytes | None
) -> RemovedDevice | None:
    record = registration_parts(registration)[1]
    device = device_or_none(app, device_id.decode(), record, (invalid_reason or b"").decode())
    return RemovedDevice(device, from_ms(int(at))) if device else None
