"""Registrations, for the web and the command line.

The record of a push token names its owner and is the authority; an account's list is an index that is checked
against it. So a token that turns up under another user moves in one step.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from proxy.domain.callbacks import digest
from proxy.domain.devices import Device, Registered
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.connection import Commands, Store
from proxy.store.keys import Layout
from proxy.store.records import device_or_none, dump_device
from proxy.store.scripts import Argument, script


class RedisDeviceRegistry:
    """Implements ports.DeviceRegistry. `app_ids` maps a section's name to its appId."""

    def __init__(self, store: Store, app_ids: Mapping[str, str], per_account: int = 10) -> None:
        self._store = store
        self._app_ids = app_ids
        self._per_account = per_account

    def register(self, device: Device) -> Registered:
        app_id, shard = self._app_ids[device.app], self._store.layout.shard_of_account(device.account)
        first, *fallbacks = owner_keys(self._store.layout, app_id, device)
        names = [
            self._store.layout.account(app_id, device.app, device.account),
            first,
            self._store.layout.removed_registration(app_id, device.app, device.platform, device.push_token),
            self._store.layout.removed_of_account(app_id, device.app, device.account),
            self._store.layout.preferences(app_id, device.account),
        ]
        for owner_key, it in zip(fallbacks, device.fallbacks, strict=True):
            names += [
                owner_key,
                self._store.layout.removed_registration(app_id, device.app, it.platform, it.push_token),
            ]
        args: list[Argument] = [
            digest(device.account), device.device_id, dump_device(device), to_ms(device.registered_at),
            keys.DEVICE_TTL_S, self._store.layout.account_prefix(app_id, device.app, shard), self._per_account,
        ]  # fmt: skip
        moved, *gone = self._store.call(lambda redis: script("register_device").run(redis, names, args))
        return Registered([device_id.decode() for device_id in gone], moved=moved == 1)

    def devices_of(self, app: str, account: str) -> list[Device]:
        """This account's devices, oldest registration first."""
        key = self._store.layout.account(self._app_ids[app], app, account)
        found = self._store.call(lambda redis: _owned(redis, app, key, digest(account)))
        return sorted(found, key=lambda device: (device.registered_at, device.device_id))

    def remove(self, app: str, account: str, device_id: str) -> bool:
        """True where there was one. It is gone for good, and a removed registration of it too."""
        app_id = self._app_ids[app]
        names = [
            self._store.layout.account(app_id, app, account),
            self._store.layout.removed_of_account(app_id, app, account),
        ]
        args: list[Argument] = [digest(account), device_id]
        return bool(self._store.call(lambda redis: script("remove_device").run(redis, names, args)))

    def all_devices(self, app: str) -> Iterator[Device]:
        """Every device of a section, in no order, found by scanning: for the command line, not for requests."""
        layout = self._store.layout
        for shard in layout.all_shards:
            prefix = layout.account_prefix(self._app_ids[app], app, shard)
            pattern = prefix.replace("[", "\\[") + "*"
            for name in self._store.call(partial(_scanned, pattern=pattern)):
                digest_ = name[len(prefix) :]
                yield from self._store.call(partial(_owned, app=app, account_key=name, account_digest=digest_))


def registration_parts(registration: bytes) -> tuple[str, bytes]:
    """The key of the push token's owner, and the record; both empty where it is damaged."""
    owner_key, end, record = registration.partition(b"\n")
    return (owner_key.decode("utf-8", "replace"), record) if end else ("", b"")


def _owned(redis: Commands, app: str, account_key: str, account_digest: str) -> list[Device]:
    registrations: dict[bytes, bytes] = redis.hgetall(account_key)
    found = []
    for device_id, registration in registrations.items():
        owner_key, record = registration_parts(registration)
        account, device, invalid_reason = redis.hmget(owner_key, "account", "device", "trouble")
        if account == account_digest.encode() and device == device_id:
            found.append(device_or_none(app, device_id.decode(), record, (invalid_reason or b"").decode()))
    return [device for device in found if device]


def _scanned(redis: Commands, pattern: str) -> list[str]:
    return [key.decode() for key in redis.scan_iter(match=pattern, count=500)]


def owner_keys(layout: Layout, app_id: str, device: Device) -> list[str]:
    """The key of the owner of each of its push tokens, in their order."""
    return [layout.push_token(app_id, device.app, it.platform, it.push_token) for it in device.addresses]
