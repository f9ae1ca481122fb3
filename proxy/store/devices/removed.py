"""The way back: devices that a provider's answer removed in the last week, and the removal guard for the operator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter

from proxy.domain.devices import Device, Platform, platform_of
from proxy.domain.lanes import Lane
from proxy.domain.monitoring import Metric
from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Commands
from proxy.store.devices.changing import ChangingDevices
from proxy.store.devices.registrations import record_in
from proxy.store.devices.restoring import RestoreResult, restoring
from proxy.store.keys import Layout
from proxy.store.records import device_or_none
from proxy.store.scripts import Command, ask_now

HOUR = timedelta(hours=1)
_PAGE = 500


@dataclass(frozen=True)
class RemovedDevice:
    """A registration as it was, and when a provider's answer ended it."""

    device: Device
    at: datetime


class RedisRemovedDevices(ChangingDevices):
    """For the command line. Every call raises StoreUnavailable."""

    def removed(self, app: str, since: datetime) -> Iterator[RemovedDevice]:
        """Those of a section that were removed since then and did not come back, the oldest first."""
        app_id, layout = self._app_ids[app], self._store.layout
        indexes = [index(app_id, app, platform) for platform in Platform for index in (keys.removed, keys.reserved)]
        found = self._store.call(partial(_names, indexes=indexes, since=since))
        names = [name for name, _ in sorted(found, key=itemgetter(1))]
        for start in range(0, len(names), _PAGE):
            some = names[start : start + _PAGE]
            yield from self._store.call(partial(_read, layout=layout, app_id=app_id, app=app, names=some))

    def restore(self, removed: RemovedDevice, *, only_ask: bool = False) -> RestoreResult:
        """Its registration holds again, unless its device or its push token was registered since."""
        device = removed.device
        return self._take(restoring(self._change(device.app), device, self._per_account, only_ask=only_ask))

    def release(self, app: str, until: datetime) -> None:
        """Until then the section's removal guards keep nothing: its devices really are dead."""
        app_id = self._app_ids[app]
        for platform in Platform:
            removal_guard = keys.removal_guard(app_id, app, platform)
            commands: list[Command] = [
                ("HSET", removal_guard, "released", to_ms(until)),
                ("HDEL", removal_guard, "since", "last"),
                ("EXPIRE", removal_guard, keys.REMOVAL_GUARD_TTL_S),
                ("DEL", keys.held(app_id, app, platform)),
            ]
            self._store.call(partial(ask_now, commands=commands))


def guard_details(redis: Commands, lanes: Sequence[Lane], now: datetime) -> dict[str, str]:
    """A sentence for each app and platform whose removal guard kept devices within the last hour, for /readyz."""
    platforms = _platforms(lanes)
    answers = ask_now(redis, [("HMGET", keys.removal_guard(*it), "since", "last", "count", "all") for it in platforms])
    sentences = {}
    for (_, app, platform), (since, last, count, total) in zip(platforms, answers, strict=True):
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
    platforms, asked = _platforms(lanes), list[Command]()
    for where in platforms:
        asked += [("ZCARD", keys.removed(*where)), ("ZCOUNT", keys.held(*where), to_ms(now - HOUR), "+inf")]
    answers = iter(ask_now(redis, asked))
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
    """The keys of removed registrations, and when each was removed; also those whose removal was not confirmed."""
    asked: list[Command] = [("ZRANGEBYSCORE", index, to_ms(since), "+inf", "WITHSCORES") for index in indexes]
    found = dict[bytes, float]()
    for answer in ask_now(redis, asked):
        for name, at in zip(answer[::2], answer[1::2], strict=True):
            found.setdefault(name, float(at))
    return list(found.items())


def _read(redis: Commands, layout: Layout, app_id: str, app: str, names: Sequence[bytes]) -> list[RemovedDevice]:
    fields = "device", "forgotten", "registration", "trouble", "account"
    answers = ask_now(redis, [("HMGET", name, *fields) for name in names])
    rows = [(name, *answer) for name, answer in zip(names, answers, strict=True) if answer[2] and answer[4]]
    if not rows:
        return []
    named = ask_now(redis, [("HGET", layout.removed_of_account(app_id, app, row[5].decode()), row[1]) for row in rows])
    return [
        removed
        for (name, device_id, at, registration, trouble, _), is_named in zip(rows, named, strict=True)
        if is_named == name and (removed := _removed(app, device_id, at, registration, trouble))
    ]


def _removed(
    app: str, device_id: bytes, at: bytes, registration: bytes, invalid_reason: bytes | None
) -> RemovedDevice | None:
    record = record_in(registration)
    device = device_or_none(app, device_id.decode(), record, (invalid_reason or b"").decode())
    return RemovedDevice(device, from_ms(int(at))) if device else None
