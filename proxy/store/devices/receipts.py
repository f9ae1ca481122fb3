"""What receipts change: a push token that reaches no phone goes, an account that no phone has set is remembered.

A receipt is not signed. So one counts only for a target that its message was planned for, as the message's marks say,
and only as long as they are kept; the next push to a dead target says again that it is dead.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from proxy.domain.callbacks import digest
from proxy.domain.devices import Device
from proxy.domain.jobs import target_mark
from proxy.domain.lanes import Lane
from proxy.domain.receipts import Delivery, DeliveryReceipt
from proxy.domain.times import MS, to_ms
from proxy.store.devices.registrations import record_in
from proxy.store.devices.removal import DeviceRemoval
from proxy.store.keys import Layout
from proxy.store.records import device_or_none
from proxy.store.scripts import ask_strictly

PLANNED_BEFORE_MS = 86_400_000  # a push, at most: receipts of later ones say nothing


class ReceiptEffects:
    """For one round of receipts, on an event loop."""

    def __init__(
        self, redis: Any, app_ids: Mapping[str, str], removal: DeviceRemoval, unknown_account_ttl: timedelta
    ) -> None:
        self._redis, self._app_ids = redis, app_ids
        self._removal, self._unknown_account_ttl = removal, unknown_account_ttl

    async def apply(self, receipts: Sequence[DeliveryReceipt], now: datetime) -> None:
        """Each may come twice. Raises RedisError, and leaves what follows undone."""
        for receipt in receipts:
            if receipt.what is not Delivery.INVALID_TARGET:
                continue
            for target in receipt.targets:
                if receipt.by_account:
                    await self._remember(receipt, target, now)
                else:
                    await self._remove(receipt, target, now)

    async def _remember(self, receipt: DeliveryReceipt, account: str, now: datetime) -> None:
        """As long as if the push itself had been answered so: who came back since then is not kept out for long."""
        lane = Lane(self._app_ids[receipt.app], receipt.app, receipt.channel)
        life = receipt.reference.sent_at + self._unknown_account_ttl - now
        if life >= MS and await self._was_planned(receipt, account, ""):
            await self._redis.set(self._redis.layout.unknown(lane, account), "1", px=life)

    async def _remove(self, receipt: DeliveryReceipt, push_token: str, now: datetime) -> None:
        device = await self._owner(receipt, push_token)
        if device is not None and await self._was_planned(receipt, device.account, device.device_id, device.marked_as):
            await self._removal.remove(device, receipt.reference.sent_at, now)

    async def _owner(self, receipt: DeliveryReceipt, push_token: str) -> Device | None:
        app, app_id = receipt.app, self._app_ids[receipt.app]
        owner = self._redis.layout.push_token(app_id, app, receipt.channel, push_token)
        account, device_id = await self._redis.hmget(owner, "account", "device")
        if account is None or device_id is None:
            return None
        registration = await self._redis.hget(self._redis.layout.account_of(app_id, app, account.decode()), device_id)
        return registered_owner(receipt, push_token, account, device_id, registration)

    async def _was_planned(self, receipt: DeliveryReceipt, account: str, device_id: str, platform: str = "") -> bool:
        layout: Layout = self._redis.layout
        shard = layout.shard_of_account(account)
        mark = target_mark(receipt.app, platform or receipt.channel, account, device_id)
        asked = layout.mark_read(
            self._app_ids[receipt.app], receipt.reference.message_id, shard, mark, to_ms(receipt.reference.sent_at),
            PLANNED_BEFORE_MS,
        )  # fmt: skip
        return any(await ask_strictly(self._redis, [("HEXISTS", *one) for one in asked]))


def registered_owner(
    receipt: DeliveryReceipt, push_token: str, account: bytes, device_id: bytes, registration: bytes | None
) -> Device | None:
    """The device at this push token, of its owner's digest, id and registration; None where they do not agree."""
    record = record_in(registration) if registration else b""
    device = device_or_none(receipt.app, device_id.decode(), record) if record else None
    if device is None or digest(device.account) != account.decode():
        return None
    tokens = [it.push_token if it.platform == receipt.channel else "" for it in device.addresses]
    return device.at(tokens.index(push_token)) if push_token in tokens else None
