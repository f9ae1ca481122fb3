"""Bringing back a registration that a provider's answer removed, as steps. See changes.py for what a crash leaves.

The account's own note of the removed record says that it may come back: a user who signs the device out, or registers
it again, takes the note away in one step.
"""

from enum import StrEnum

from proxy.domain.callbacks import account_digest
from proxy.domain.devices import Device
from proxy.store import keys
from proxy.store.devices.changes import Change, Leftover, began, beginning
from proxy.store.devices.registering import commit, confirming, undoing
from proxy.store.devices.registrations import owner_lines
from proxy.store.scripts import Command, script
from proxy.store.steps import Steps


class RestoreResult(StrEnum):
    """What became, or would become, of a device that is to come back."""

    RESTORED = "restored"
    GONE = "it was restored, registered or removed meanwhile"
    TOKEN_REGISTERED = "its push token is registered"  # noqa: S105  no password
    DEVICE_REGISTERED = "the device is registered"
    NO_ROOM = "the account has its most devices"


_COMMITTED = {
    0: RestoreResult.GONE,
    1: RestoreResult.RESTORED,
    2: RestoreResult.DEVICE_REGISTERED,
    3: RestoreResult.NO_ROOM,
}


def restoring(of: Change, device: Device, per_account: int, *, only_ask: bool) -> Steps[RestoreResult]:
    """Bring the registration back, unless its device or a push token of it was registered since.

    Where only its first address had gone, and a fallback has taken its place, it is the first again.
    """
    account, device_id = account_digest(device.account), device.device_id
    me = [account.encode(), device_id.encode()]
    first_key = of.layout.push_token(of.app_id, of.app, device.platform, device.push_token)
    record_key = keys.removed_record_of(first_key)
    removed, noted, present_value, count = yield [
        ("HMGET", record_key, "account", "device", "at", "trouble", "registration"),
        ("HGET", of.layout.removed_of_account(of.app_id, of.app, account), device_id),
        ("HGET", of.account(account), device_id),
        ("HLEN", of.account(account)),
    ]
    registration = of.read(device_id, removed[4])
    if registration is None or removed[:2] != me or first_key not in registration.owner_keys:
        return RestoreResult.GONE
    present = of.read(device_id, present_value)
    present_key = present.owner_keys[0] if present and present.owner_keys else first_key
    *owners, of_present = yield [
        ("HMGET", key, "account", "device", "at") for key in [*registration.owner_keys, present_key]
    ]
    if any(owner[0] is not None and owner[:2] != me for owner in owners):
        return RestoreResult.TOKEN_REGISTERED
    is_rest_of_it = len(registration.owner_keys) > 1 and of_present[2] == removed[2]
    if present and of_present[:2] == me and not is_rest_of_it:
        return RestoreResult.DEVICE_REGISTERED
    if count - bool(present) >= per_account:
        return RestoreResult.NO_ROOM
    if noted != record_key.encode():
        return RestoreResult.GONE
    if only_ask:
        return RestoreResult.RESTORED

    first, *_ = yield [beginning(of, account, device_id, registration)]
    _, left = began(of, account, device_id, first)
    others = owner_lines(registration.owner_keys[1:])
    trouble, life_s = removed[3] or b"", keys.DEVICE_TTL_S
    taken = yield [
        script("take_token").call(
            [key, keys.count_of(key)],
            [account, device_id, removed[2], life_s, "" if place else others, "" if place else trouble, 1],
        )
        for place, key in enumerate(registration.owner_keys)
    ]
    if any(owner[0] is not None and owner != me for owner in taken):
        yield from undoing(of, account, device_id, registration, left)
        return RestoreResult.TOKEN_REGISTERED

    settled = present_value if present and set(present.owner_keys) <= set(registration.owner_keys) else b""
    committing = commit(
        of, device, registration, per_account, settled=settled, removed_record=record_key, expected=present_value or b""
    )
    ((what, *_),) = yield [committing]
    found = _COMMITTED[what]
    if found is not RestoreResult.RESTORED:
        yield from undoing(of, account, device_id, registration, left)
        return found
    if present and not settled:
        left.append(Leftover(account, device_id, of.field(device_id), present, registration))
    indexes = [index(of.app_id, of.app, device.platform) for index in (keys.removed, keys.held, keys.reserved)]
    besides: list[Command] = [("DEL", record_key), *(("ZREM", index, record_key) for index in indexes)]
    lost = yield from confirming(of, account, device_id, registration, left, besides)
    return RestoreResult.TOKEN_REGISTERED if lost else found
