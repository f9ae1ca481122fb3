"""Removing devices that a provider calls dead: with a guard, and with a way back for a week.

A wrong topic, environment or package can make a provider call every device dead. So when more than a share of an app's
devices on one channel, and at least so many, would go within an hour, the guard keeps them. It counts by channel, for
few iPhones among many others would never make a share of the whole. It counts for the whole app, in the app's own
keys: a removal is reserved there first, and confirmed once it is done in the shards. The devices are counted once an
hour, and only when enough of them went to make it matter. Until they are counted nothing is removed.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from proxy.domain.callbacks import account_digest
from proxy.domain.devices import Device, RemovalResult
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.devices.changes import Change, Leftover, began, beginning, change, free, settling
from proxy.store.devices.device_count import count_devices
from proxy.store.devices.registrations import Registration, owner_lines, record_in, registration_value
from proxy.store.records import without_address
from proxy.store.scripts import Argument, Command, script
from proxy.store.steps import Steps, take_steps_async

_RESERVED, _BEGINS, _COUNT_FIRST = 1, 4, 5
_WEEK_MS = 604_800_000
_TRIES = 3  # where others change the same registration


@dataclass(frozen=True)
class RemovalGuard:
    """Removing stops when more than `share` of an app's devices on a channel, and `at_least`, would go in an hour.

    A share of 1 never stops it.
    """

    share: float = 0.2
    at_least: int = 20


OnHeld = Callable[[Device, int, int], None]


def _ignore(_device: Device, _devices: int, _of: int) -> None: ...


@dataclass(frozen=True)
class Kept:
    """The guard kept it: so many of so many were called dead within an hour, and whether it begins with this one."""

    devices: int
    of: int
    begins: bool


@dataclass(frozen=True)
class CountFirst:
    """Nothing is done: it must be known how many devices there are. See device_count.py for what is given."""

    removed: int
    under_way: Sequence[bytes]


class DeviceRemoval:
    """The worker's side. `on_held` is called when the guard begins to keep devices: with one, how many, of how many."""

    def __init__(
        self,
        redis: Any,
        app_ids: Mapping[str, str],
        removal_guard: RemovalGuard | None = None,
        on_held: OnHeld = _ignore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._app_ids = app_ids
        self._guard = removal_guard or RemovalGuard()
        self._on_held = on_held
        self._clock = clock
        self._counting: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def remove(self, device: Device, before: datetime, now: datetime) -> RemovalResult:
        """Remove the registration if it was made before that moment, is still this device's and the guard allows it.

        Of a device with fallbacks only this address goes: the next one takes its place in the same step.
        """
        found = await self._try(device, before, now)
        if isinstance(found, CountFirst):
            async with self._counting[device.app, device.platform]:  # concurrent callers wait for the same count
                found = await self._try(device, before, now)
                if isinstance(found, CountFirst):
                    where = self._app_ids[device.app], device.app, device.platform
                    await count_devices(self._redis, *where, found.removed, found.under_way, now)
                    found = await self._try(device, before, now)
        match found:
            case RemovalResult():
                return found
            case Kept(devices, of, begins=True):
                self._on_held(device, devices, of)
        return RemovalResult.HELD

    async def _try(self, device: Device, before: datetime, now: datetime) -> RemovalResult | Kept | CountFirst:
        for _ in range(_TRIES):
            of = change(self._redis.layout, self._app_ids[device.app], device.app, self._clock)
            found = await take_steps_async(self._redis, removing(of, device, self._guard, before, now))
            if found is not None:
                return found
        return RemovalResult.KEPT


def removing(
    of: Change, device: Device, guard: RemovalGuard, before: datetime, now: datetime
) -> Steps[RemovalResult | Kept | CountFirst | None]:
    """Look, reserve, keep a record for a week, change the account's list, free the push token, confirm.

    None: the registration was changed meanwhile, and is to be looked at again.
    """
    account, device_id = account_digest(device.account), device.device_id
    owner_key = of.layout.push_token(of.app_id, of.app, device.platform, device.push_token)
    record_key, last_ms = keys.removed_record_of(owner_key), to_ms(before) - 1
    removed_records = of.layout.removed_of_account(of.app_id, of.app, account)
    owner, first, former_record = yield [
        ("HMGET", owner_key, "account", "device", "at"),
        beginning(of, account, device_id),
        ("HGET", removed_records, device_id),
    ]
    if owner[:2] != [account.encode(), device_id.encode()]:
        return RemovalResult.GONE
    if int(owner[2] or 0) > last_ms:
        return RemovalResult.KEPT

    former_record = former_record or b""
    (what, devices, *rest), earlier_at = yield [
        _reserve(of, device.platform, record_key, guard, now),
        ("HGET", former_record or record_key, "at"),
    ]
    if what == _COUNT_FIRST:
        return CountFirst(devices, rest)
    if what != _RESERVED:
        return Kept(devices, rest[0], what == _BEGINS)

    registration, left = began(of, account, device_id, first)
    besides = list[Command]()
    if registration and owner_key in registration.owner_keys:
        is_first = registration.owner_keys[0] == owner_key
        keeps_record = is_first and not (former_record and earlier_at == owner[2])  # else one has all its addresses
        if keeps_record:
            (is_kept,) = yield [_keep(owner_key, record_key, account, device_id, last_ms, now, registration)]
            if not is_kept:
                return None
        successor = _successor(of, device, registration)
        noted = record_key if keeps_record else ""
        (is_done,) = yield [_replace(of, account, device_id, registration, successor, noted)]
        if not is_done:
            return None
        left = [Leftover(account, device_id, of.field(device_id), registration, successor), *left]
        if successor:
            besides.append(_name_others(successor, account, device_id))
        if keeps_record and former_record not in (b"", record_key.encode()):
            besides.append(("DEL", former_record))
    else:  # an owner that no list names
        besides.append(free(owner_key, account, device_id, int(owner[2])))
    yield from settling(of, left, besides)
    yield [_confirm(of, device.platform, record_key, now)]
    return RemovalResult.REMOVED


def _successor(of: Change, device: Device, registration: Registration) -> Registration | None:
    """The same without this address; None where it has no other, or this program cannot read it."""
    record = without_address(record_in(registration.value), device.platform, device.push_token)
    if record is None:
        return None
    found = of.read(device.device_id, b"\n" + record)  # whose first push token it says itself
    if found is None or len(found.owner_keys) == 0:
        return None
    return replace(found, value=registration_value(of.layout, found.owner_keys[0], record))


def _reserve(of: Change, platform: str, record_key: str, guard: RemovalGuard, now: datetime) -> Command:
    where = of.app_id, of.app, platform
    names = [keys.removed(*where), keys.held(*where), keys.reserved(*where), keys.removal_guard(*where)]
    return script("reserve_removal").call(names, [record_key, to_ms(now), guard.share, guard.at_least])


def _keep(
    owner_key: str,
    record_key: str,
    account: str,
    device_id: str,
    last_ms: int,
    now: datetime,
    registration: Registration,
) -> Command:
    args: list[Argument] = [account, device_id, last_ms, to_ms(now), registration.value, _WEEK_MS]
    return script("keep_removed").call([owner_key, record_key], args)


def _replace(
    of: Change,
    account: str,
    device_id: str,
    registration: Registration,
    successor: Registration | None,
    record_key: str,
) -> Command:
    names = [of.account(account), of.leftovers(account), of.layout.removed_of_account(of.app_id, of.app, account)]
    value = successor.value if successor else b""
    args: list[Argument] = [
        of.field(device_id),
        device_id,
        registration.value,
        value,
        keys.DEVICE_TTL_S,
        record_key,
        _WEEK_MS,
    ]
    return script("replace_registration").call(names, args)


def _name_others(successor: Registration, account: str, device_id: str) -> Command:
    first, *others = successor.owner_keys
    return script("note_on_token").call([first], [account, device_id, "others", owner_lines(others)])


def _confirm(of: Change, platform: str, record_key: str, now: datetime) -> Command:
    where = of.app_id, of.app, platform
    names = [keys.removed(*where), keys.held(*where), keys.reserved(*where)]
    return script("confirm_removal").call(names, [record_key, to_ms(now)])
