"""Registrations and lines as the worker needs them: read in batches, forgotten in one step."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from proxy.domain.alerts import Order
from proxy.domain.callbacks import digest
from proxy.domain.devices import Device, RemovalResult
from proxy.domain.lanes import Lane
from proxy.ports import Landing, LineState, Owned
from proxy.store import keys
from proxy.store.devices.registry import registration_parts
from proxy.store.devices.removal import DeviceRemoval
from proxy.store.records import device_or_none, dump_order, load_order
from proxy.store.scripts import Argument, script
from proxy.store.users.blocks import blocked_among

_MS = timedelta(milliseconds=1)


class RedisAddresses:
    """Reads are pipelines, one round trip for any number of accounts."""

    def __init__(
        self, redis: Any, app_ids: Mapping[str, str], instance: str, forgetting: DeviceRemoval | None = None
    ) -> None:
        self._redis = redis
        self._app_ids = app_ids
        self._instance = instance
        self._forgetting = forgetting or DeviceRemoval(redis, app_ids)

    async def devices_of(self, app: str, accounts: Sequence[str]) -> list[list[Device]]:
        """Each account's devices by its own list, in the order of `accounts`; ownership is checked when delivering.

        A record of a later version, or damaged, is left out.
        """
        pipe = self._redis.pipeline(transaction=False)
        for account in accounts:
            pipe.hgetall(keys.account(self._app_ids[app], app, account))
        return [
            [device for id_, it in registrations.items() if (device := _device(app, id_, it))]
            for registrations in await pipe.execute()
        ]

    async def owned(self, app: str, targets: Sequence[tuple[str, str]]) -> list[Owned | None]:
        """For each (account, device_id) its device, or None where it is gone or its push token has another owner."""
        app_id = self._app_ids[app]
        pipe = self._redis.pipeline(transaction=False)
        for account, device_id in targets:
            pipe.hget(keys.account(app_id, app, account), device_id)
        registrations = [registration_parts(it) if it else None for it in await pipe.execute()]
        present = [it for it in registrations if it]
        pipe = self._redis.pipeline(transaction=False)
        for owner_key, _ in present:
            pipe.hmget(owner_key, "account", "device")
        pipe.mget([keys.rest_of(owner_key) for owner_key, _ in present])
        *owners, rests = await pipe.execute() if present else [[]]
        read = iter(zip(owners, rests, strict=True))
        found: list[Device | None] = []
        resting: list[Device] = []
        for (account, device_id), it in zip(targets, registrations, strict=True):
            owner, rests_now = next(read) if it else (None, None)
            is_owner = owner == [digest(account).encode(), device_id.encode()]
            found.append(device_or_none(app, device_id, it[1]) if it and is_owner else None)
            if rests_now and found[-1]:
                resting.append(found[-1])
        left = await self._rests(resting)
        return [Owned(it, left.get(it, timedelta(0))) if it else None for it in found]

    async def rest(self, device: Device, span: timedelta) -> None:
        """Nothing goes to the device for so long."""
        await script("rest_device").run_async(self._redis, [self._rest_key(device)], [max(span // _MS, 1)])

    async def forget(self, device: Device, before: datetime, now: datetime) -> RemovalResult:
        """See store/forgetting.py."""
        return await self._forgetting.forget(device, before, now)

    async def mark_invalid(self, device: Device, invalid_reason: str) -> None:
        args: list[Argument] = [digest(device.account), device.device_id, invalid_reason]
        owner = keys.push_token(self._app_ids[device.app], device.app, device.platform, device.push_token)
        await script("note_trouble").run_async(self._redis, [owner], args)

    async def blocked(self, accounts: Sequence[str]) -> set[str]:
        """Those of the accounts that may do nothing any more."""
        return await blocked_among(self._redis, accounts)

    async def unknown(self, lane: Lane, accounts: Sequence[str]) -> set[str]:
        """Those of the accounts that the provider lately did not know."""
        pipe = self._redis.pipeline(transaction=False)
        for account in accounts:
            pipe.exists(keys.unknown(lane, account))
        return {account for account, found in zip(accounts, await pipe.execute(), strict=True) if found}

    async def remember_unknown(self, lane: Lane, account: str, life: timedelta) -> None:
        await self._redis.set(keys.unknown(lane, account), "1", px=life)

    async def board(self, lane: Lane, lines: Sequence[str], lease: timedelta) -> list[LineState]:
        """Take each line that is free, for a lease at most, and tell what is known of it."""
        pipe = self._redis.pipeline(transaction=False)
        for line in lines:
            pipe.set(keys.flying(lane, line), self._instance, nx=True, px=lease)
            pipe.mget(keys.shown(lane, line), keys.sent(lane, line))
        answers = await pipe.execute()
        return [
            LineState(bool(is_free), *(load_order(it) if it else None for it in orders))
            for is_free, orders in zip(answers[::2], answers[1::2], strict=True)
        ]

    async def depart(self, lane: Lane, departing: Sequence[tuple[str, Order]], life: timedelta) -> None:
        """Pushes of these alerts leave now: until they are over they may be shown."""
        pipe = self._redis.pipeline(transaction=False)
        for line, order in departing:
            pipe.set(keys.sent(lane, line), dump_order(order), px=life)
        await pipe.execute()

    async def land(self, lane: Lane, landed: Sequence[Landing], life: timedelta) -> None:
        """The pushes of these lines have ended: what was accepted is shown, what is over no longer counts as sent."""
        names: list[str] = []
        args: list[Argument] = [self._instance, life // _MS]
        for it in landed:
            names += [keys.flying(lane, it.line), keys.shown(lane, it.line), keys.sent(lane, it.line)]
            args += [dump_order(it.order) if it.order else b"", int(it.accepted), int(it.over)]
        await script("land").run_async(self._redis, names, args)

    async def _rests(self, devices: Sequence[Device]) -> dict[Device, timedelta]:
        if not devices:
            return {}
        pipe = self._redis.pipeline(transaction=False)
        for device in devices:
            pipe.pttl(self._rest_key(device))
        return {it: max(left, 0) * _MS for it, left in zip(devices, await pipe.execute(), strict=True)}

    def _rest_key(self, device: Device) -> str:
        return keys.rest_of(keys.push_token(self._app_ids[device.app], device.app, device.platform, device.push_token))


def _device(app: str, device_id: bytes, registration: bytes) -> Device | None:
    return device_or_none(app, device_id.decode(), registration_parts(registration)[1])
