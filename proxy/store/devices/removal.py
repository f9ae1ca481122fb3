"""Removing devices that a provider calls dead: with a guard, and with a way back for a week.

A wrong topic, environment or package can make a provider call every device dead. So when more than a share of an app's
devices on one channel, and at least so many, would go within an hour, the guard keeps them. It counts by channel, for
few iPhones among many others would never make a share of the whole. No counter is kept, which an earlier program
beside this one would let drift: the devices are counted once an hour, by scanning, in the background, and only when
enough of them went to make it matter. Until they are counted nothing is removed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from proxy.domain.callbacks import digest
from proxy.domain.devices import Device, RemovalResult
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.devices.registry import owner_keys, registration_parts
from proxy.store.records import UnreadableRecord, load_device, without_address
from proxy.store.scripts import Argument, script

_COUNT_FIRST = 5
_BEGINS = 4
_CHANGED = 6
_REMOVALS = {
    0: RemovalResult.KEPT,
    1: RemovalResult.REMOVED,
    2: RemovalResult.GONE,
    3: RemovalResult.HELD,
    _BEGINS: RemovalResult.HELD,
    _CHANGED: RemovalResult.KEPT,
}
_HOUR = timedelta(hours=1)
_A_SCAN = 1000  # names looked at in one call: 0.2 ms of the store's time


@dataclass(frozen=True)
class RemovalGuard:
    """Removing stops when more than `share` of an app's devices on a channel, and `at_least`, would go in an hour.

    A share of 1 never stops it.
    """

    share: float = 0.2
    at_least: int = 20


OnHeld = Callable[[Device, int, int], None]


def _ignore(_device: Device, _devices: int, _of: int) -> None: ...


class DeviceRemoval:
    """The worker's side. `on_held` is called when the guard begins to keep devices: with one, how many, of how many."""

    def __init__(
        self,
        redis: Any,
        app_ids: Mapping[str, str],
        removal_guard: RemovalGuard | None = None,
        on_held: OnHeld = _ignore,
    ) -> None:
        self._redis = redis
        self._app_ids = app_ids
        self._guard = removal_guard or RemovalGuard()
        self._on_held = on_held
        self._counting: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def remove(self, device: Device, before: datetime, now: datetime) -> RemovalResult:
        """Remove the registration if it was made before that moment, is still this device's and the guard allows it.

        Of a device with fallbacks only this address goes: the next one takes its place in the same step.
        """
        answer = await self._ask(device, before, now)
        if answer[0] == _COUNT_FIRST:
            async with self._counting[device.app, device.platform]:  # concurrent callers wait for the same count
                answer = await self._ask(device, before, now)
                if answer[0] == _COUNT_FIRST:
                    await self._count(device.app, device.platform, now)
                    answer = await self._ask(device, before, now)
        what, devices, of = answer
        if what == _BEGINS:
            self._on_held(device, devices, of)
        return _REMOVALS.get(what, RemovalResult.HELD)

    async def _ask(self, device: Device, before: datetime, now: datetime) -> list[int]:
        app, app_id = device.app, self._app_ids[device.app]
        names = [
            self._redis.layout.account(app_id, app, device.account),
            self._redis.layout.push_token(app_id, app, device.platform, device.push_token),
            self._redis.layout.removed_registration(app_id, app, device.platform, device.push_token),
            self._redis.layout.removed_of_account(app_id, app, device.account),
            keys.removed(app_id, app, device.platform),
            keys.held(app_id, app, device.platform),
            keys.removal_guard(app_id, app, device.platform),
        ]
        args: list[Argument] = [
            digest(device.account), device.device_id, to_ms(before), to_ms(now), self._guard.share,
            self._guard.at_least,
        ]  # fmt: skip
        if device.fallbacks:
            args += await self._successor(device)
        answer: list[int] = await script("forget_device").run_async(self._redis, names, args)
        return answer

    async def _successor(self, device: Device) -> list[Argument]:
        """The registration as it is now, the same without this address, and its owners' keys behind the first.

        Empty where that address is none of it, or the only one.
        """
        app, app_id = device.app, self._app_ids[device.app]
        registration = await self._redis.hget(self._redis.layout.account(app_id, app, device.account), device.device_id)
        record = registration_parts(registration)[1] if registration else b""
        left = without_address(record, device.platform, device.push_token)
        try:
            if left is None:
                return []
            first, *others = owner_keys(self._redis.layout, app_id, load_device(app, device.device_id, left))
        except UnreadableRecord:
            return []
        return [registration, f"{first}\n".encode() + left, "\n".join(others)]

    async def _count(self, app: str, platform: str, now: datetime) -> None:
        """The app's devices on the channel, with those that went within this hour; as exact as a scan can be."""
        app_id = self._app_ids[app]
        layout = self._redis.layout
        devices = await self._redis.zcount(keys.removed(app_id, app, platform), f"({to_ms(now - _HOUR)}", "+inf")
        for shard in layout.all_shards:
            registered = f"{layout.push_token_prefix(app_id, app, platform, shard)}*"  # a key for each device
            async for _ in self._redis.scan_iter(match=registered, count=_A_SCAN):
                devices += 1
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(keys.removal_guard(app_id, app, platform), mapping={"devices": devices, "counted": to_ms(now)})
        pipe.expire(keys.removal_guard(app_id, app, platform), keys.REMOVAL_GUARD_TTL_S)
        await pipe.execute()
