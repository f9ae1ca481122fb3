"""Registrations, for the web and the command line.

The record of a push token names its owner and is the authority; an account's list is an index that is checked
against it. So a token that turns up under another user is that user's from one moment on.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from proxy.domain.callbacks import account_digest
from proxy.domain.devices import Device, ImportResult, Registered
from proxy.errors import StoreUnavailable
from proxy.store.connection import Commands, Store
from proxy.store.devices.changing import ChangingDevices
from proxy.store.devices.registering import importing, registering, signing_out
from proxy.store.devices.registrations import registration_parts
from proxy.store.keys import Layout
from proxy.store.records import device_or_none
from proxy.store.scripts import Command, ask_now
from proxy.store.steps import take_together

_TOGETHER = 200  # accounts that are read at once
_A_SCAN = 1000  # names looked at in one call: 0.2 ms of the store's time
_TRIES = 3  # where others change the same registration


class RedisDeviceRegistry(ChangingDevices):
    """Implements ports.DeviceRegistry."""

    def register(self, device: Device) -> Registered:
        return self._take(registering(self._change(device.app), device, self._per_account))

    def import_all(self, devices: Sequence[Device], *, only_ask: bool = False) -> list[ImportResult]:
        """Register what another store says, together. No two have an account or a push token in common."""
        steps = [importing(self._change(it.app), it, self._per_account, only_ask=only_ask) for it in devices]
        found = take_together(self._store, steps, self._replicas)
        return [it or self._import_alone(device) for it, device in zip(found, devices, strict=True)]

    def _import_alone(self, device: Device) -> ImportResult:
        """After another change of the same came between."""
        for _ in range(_TRIES):
            found = self._take(importing(self._change(device.app), device, self._per_account, only_ask=False))
            if found is not None:
                return found
        raise StoreUnavailable("a registration changes all the time")

    def devices_of(self, app: str, account: str) -> list[Device]:
        """This account's devices, oldest registration first."""
        digest = account_digest(account)
        names = {self._store.layout.account_of(self._app_ids[app], app, digest): digest}
        found = self._store.call(
            partial(_owned, layout=self._store.layout, app_id=self._app_ids[app], app=app, names=names)
        )
        return sorted(found, key=lambda device: (device.registered_at, device.device_id))

    def remove(self, app: str, account: str, device_id: str) -> bool:
        """True where there was one. It is gone for good, and a removed registration of it too."""
        return self._take(signing_out(self._change(app), account_digest(account), device_id))

    def all_devices(self, app: str) -> Iterator[Device]:
        """Every device of a section, in no order, found by scanning: for the command line, not for requests.

        A page at a time, however many there are. One that changes meanwhile may be missed or come twice.
        """
        layout, app_id = self._store.layout, self._app_ids[app]
        pattern = in_any_shard(layout, lambda shard: layout.account_prefix(app_id, app, shard))
        for page in scanned(self._store, pattern):
            for start in range(0, len(page), _TOGETHER):
                some = {name: name.rpartition(":")[2] for name in page[start : start + _TOGETHER]}
                yield from self._store.call(partial(_owned, layout=layout, app_id=app_id, app=app, names=some))


def in_any_shard(layout: Layout, prefix_of: Callable[[int], str]) -> str:
    """The pattern by which SCAN finds what begins so in any shard, in one go over all keys."""
    prefix = prefix_of(0)
    tag_ends = prefix.index("}") if layout.shards else 0
    literal = re.sub(r"([\[\]\\?*])", r"\\\1", prefix[tag_ends:])
    return f"proxy:{{*{literal}*" if layout.shards else f"{literal}*"


def _owned(redis: Commands, layout: Layout, app_id: str, app: str, names: Mapping[str, str]) -> list[Device]:
    """Of lists by their keys, each with its account's digest. Two round trips for any number."""
    lists: Sequence[Sequence[bytes]] = ask_now(redis, [("HGETALL", name) for name in names])
    rows = [
        (digest.encode(), device_id, *registration_parts(layout, app_id, app, value))
        for digest, fields in zip(names.values(), lists, strict=True)
        for device_id, value in zip(fields[::2], fields[1::2], strict=True)
    ]
    readable = [row for row in rows if row[2]]
    asked: list[Command] = [("HMGET", owner_key, "account", "device", "trouble") for *_, owner_key, _ in readable]
    owners = ask_now(redis, asked) if asked else []
    found = [
        device_or_none(app, device_id.decode(), record, (trouble or b"").decode())
        for (digest, device_id, _, record), (account, device, trouble) in zip(readable, owners, strict=True)
        if account == digest and device == device_id
    ]
    return [device for device in found if device]


def scanned(store: Store, pattern: str) -> Iterator[list[str]]:
    """The names of all keys that are like this, in pages; while keys come and go, one may come twice."""
    for place in range(store.call(lambda redis: len(redis.servers()))):
        cursor = 0
        while True:
            cursor, page = store.call(partial(_page, place=place, cursor=cursor, pattern=pattern))
            yield list(dict.fromkeys(name.decode() for name in page))
            if cursor == 0:
                break


def _page(redis: Commands, place: int, cursor: int, pattern: str) -> tuple[int, list[bytes]]:
    found: tuple[int, list[bytes]] = redis.servers()[place].scan(cursor, match=pattern, count=_A_SCAN)
    return found
