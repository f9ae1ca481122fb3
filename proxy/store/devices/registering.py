"""Registering a device and signing it out, as steps. See changes.py for what a crash between two of them leaves."""

from collections.abc import Iterator, Sequence
from typing import Any

from proxy.domain.callbacks import account_digest
from proxy.domain.devices import Device, ImportResult, Registered
from proxy.domain.times import to_ms
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.devices.changes import (
    Change,
    Leftover,
    began,
    beginning,
    dropped,
    dropping,
    ending,
    forgetting,
    freeing,
    settling,
)
from proxy.store.devices.registrations import Registration, owner_lines, registration_of, registration_parts
from proxy.store.scripts import Command, script
from proxy.store.steps import Steps

_DONE = 1
_NOBODY = [None, None]
_ALWAYS, _FROM_OLDER = 0, 2


def registering(of: Change, device: Device, per_account: int) -> Steps[Registered]:
    """Make push tokens those of this account's device: the first, and its fallbacks.

    A former owner of one of them loses its device before, and where the account then has too many devices, the oldest
    make room. What a provider's answer removed of either cannot come back from now on. Four round trips where nothing
    else has to go.
    """
    account, device_id = account_digest(device.account), device.device_id
    new = registration_of(of.layout, of.app_id, device)
    first, *owners = yield [
        beginning(of, account, device_id, new),
        *(("HMGET", key, "account", "device") for key in new.owner_keys),
    ]
    found = yield from _taking_over(of, device, new, per_account, first, owners)
    if found is None:
        raise StoreUnavailable("registering took too long, and was undone")
    return found


def importing(of: Change, device: Device, per_account: int, *, only_ask: bool) -> Steps[ImportResult | None]:
    """Register what another store says, as of the time that it says: what was registered here since stays.

    None: another change came between, and this one was undone; it may be tried again. Five round trips.
    """
    account, device_id = account_digest(device.account), device.device_id
    me, at_ms = [account.encode(), device_id.encode()], to_ms(device.registered_at)
    new = registration_of(of.layout, of.app_id, device)
    value, removed_ms, *owners = yield [
        ("HGET", of.account(account), device_id),
        ("HGET", keys.removed_record_of(new.owner_keys[0]), "forgotten"),
        *(("HMGET", key, "account", "device", "at") for key in new.owner_keys),
    ]
    if value == new.value and all(owner[:2] == me for owner in owners):
        return ImportResult.SAME
    present = of.read(device_id, value)
    if present and (present.at_ms is None or present.at_ms >= at_ms):
        return ImportResult.OLDER
    if any(owner[0] and (int(owner[2] or 0), owner[:2] != me) >= (at_ms, True) for owner in owners):
        return ImportResult.OLDER
    if removed_ms and int(removed_ms) >= at_ms:
        return ImportResult.REMOVED
    if only_ask:
        return ImportResult.DONE
    (first,) = yield [beginning(of, account, device_id, new)]
    found = yield from _taking_over(of, device, new, per_account, first, owners, expected=value or b"")
    if found is None:
        return None
    return ImportResult.NO_ROOM if device_id in found.gone else ImportResult.DONE


def _taking_over(
    of: Change,
    device: Device,
    new: Registration,
    per_account: int,
    first: Sequence[Any],
    owners: Sequence[Sequence[bytes | None]],
    expected: bytes | None = None,
) -> Steps[Registered | None]:
    """From its beginning to its end. `expected`: of an import, the account's registration of the device; no newer owner
    of a push token and no other registration gives way then. None: it was undone."""
    account, device_id = account_digest(device.account), device.device_id
    is_import = expected is not None
    former, left = began(of, account, device_id, first)
    known = set(_others(owners, account, device_id))
    left += (yield from ending(of, sorted(known), new.owner_keys, part="before")) if known else []

    frees = freeing(left, taken=new.owner_keys)
    answers = yield [*taking(account, device, new, only_from_older=is_import), *frees]
    before = answers[: 2 * len(new.owner_keys) : 2]
    if any(len(owner) > len(_NOBODY) for owner in before):
        yield from undoing(of, account, device_id, new, left)
        return None
    since = set(_others(before, account, device_id))  # they may have registered between
    ended = (yield from ending(of, sorted(since), new.owner_keys, part="between")) if since else []

    settled = former is not None and set(former.owner_keys) <= set(new.owner_keys)
    committing = commit(
        of,
        device,
        new,
        per_account,
        settled=former.value if former and settled else b"",
        expected=expected or b"",
        only_then=is_import,
    )
    (what, *found), *_ = yield [committing, *forgetting(of, left)]
    if what != _DONE:
        yield from undoing(of, account, device_id, new, ended)
        return None
    replaced, removed_record, *all_ = found

    left = [*_replaced(of, account, device_id, replaced, new), *ended]
    besides: list[Command] = [("DEL", removed_record)] if removed_record else []
    lost = yield from confirming(of, account, device_id, new, left, besides)
    if _NOBODY in lost:  # to a change that was undone: the client is to repeat its own
        raise StoreUnavailable("a push token was lost to another change")
    keeps = "" if is_import else device_id
    gone = (yield from _make_room(of, account, keeps, all_, per_account)) if all_ else []
    return Registered(gone, moved=any(whose != account for whose, _ in known | since))


def confirming(
    of: Change, account: str, device_id: str, new: Registration, left: Sequence[Leftover], besides: Sequence[Command]
) -> Steps[list[Any]]:
    """Settle what is left over. Returns who has those push tokens of the new registration that it has no more.

    Another change may have taken one before the list named it, and so did not end this registration: it is ended here.
    One that the list no longer names was ended by the change that took its place, which is nothing lost.
    """
    asked: list[Command] = [("HMGET", key, "account", "device") for key in new.owner_keys]
    answers = yield from settling(of, left, [*besides, *asked])
    lost = [owner for owner in answers[-len(asked) :] if owner != [account.encode(), device_id.encode()]]
    if not lost:
        return []
    (answer,) = yield [dropping(of, account, [(device_id, new.value)], part="lost")]
    mine = dropped(of, account, answer)
    yield from settling(of, mine)
    return lost if mine else []


def undoing(of: Change, account: str, device_id: str, new: Registration, left: Sequence[Leftover] = ()) -> Steps[None]:
    """Free what it has taken, but for what the account's registration of the device has now."""
    (present,) = yield [("HGET", of.account(account), device_id)]
    undone = Leftover(account, device_id, of.field(device_id), new, of.read(device_id, present))
    yield from settling(of, [undone, *left])


def signing_out(of: Change, account: str, device_id: str) -> Steps[bool]:
    """Remove a registration because its user says so: then it cannot come back either.

    True where there was one that owned its push token. `account` is a digest.
    """
    removed_records = of.layout.removed_of_account(of.app_id, of.app, account)
    first, removed_record, _, drop = yield [
        beginning(of, account, device_id),
        ("HGET", removed_records, device_id),
        ("HDEL", removed_records, device_id),
        dropping(of, account, [(device_id, b"")]),
    ]
    _, before = began(of, account, device_id, first)
    mine = dropped(of, account, drop)
    answers = yield from settling(of, [*mine, *before], [("DEL", removed_record)] if removed_record else [])
    return bool(mine and mine[0].registration.owner_keys) and answers[0] is not None


def taking(account: str, device: Device, new: Registration, *, only_from_older: bool = False) -> Iterator[Command]:
    """The owner of each push token, and beside it what a provider's answer had removed."""
    where = _FROM_OLDER if only_from_older else _ALWAYS
    at_ms, others = to_ms(device.registered_at), owner_lines(new.owner_keys[1:])
    for place, key in enumerate(new.owner_keys):
        yield script("take_token").call(
            [key, keys.count_of(key)],
            [account, device.device_id, at_ms, keys.DEVICE_TTL_S, "" if place else others, "", where],
        )
        yield ("DEL", keys.removed_record_of(key))


def commit(
    of: Change,
    device: Device,
    new: Registration,
    per_account: int,
    *,
    settled: bytes,
    removed_record: str = "",
    expected: bytes = b"",
    only_then: bool = False,
) -> Command:
    """`settled`: a registration that has no other push tokens. `removed_record`, `expected`: of a restore. `only_then`:
    only where the registration before is `expected`."""
    account = account_digest(device.account)
    names = [
        of.account(account),
        of.leftovers(account),
        of.layout.removed_of_account(of.app_id, of.app, account),
        of.layout.preferences(of.app_id, device.account),
    ]
    return script("commit_registration").call(
        names,
        [
            of.field(device.device_id),
            device.device_id,
            new.value,
            keys.DEVICE_TTL_S,
            settled,
            per_account,
            removed_record,
            expected,
            int(only_then),
        ],
    )


def _make_room(of: Change, account: str, keeps: str, all_: Sequence[bytes], per_account: int) -> Steps[list[str]]:
    """The oldest devices but `keeps` go until the account has no more than it may; before them what owns no push
    token."""
    others = [(name.decode(), value) for name, value in zip(all_[::2], all_[1::2], strict=True)]
    owned = [(*it, registration_parts(of.layout, of.app_id, of.app, it[1])[0]) for it in others if it[0] != keeps]
    damaged = [(False, 0, name, value) for name, value, key in owned if not key]
    owned = [it for it in owned if it[2]]
    answers = yield [("HMGET", key, "account", "device", "at") for _, _, key in owned]
    rows = damaged + [
        (owner == account.encode() and whose == name.encode(), int(at or 0), name, value)
        for (name, value, _), (owner, whose, at) in zip(owned, answers, strict=True)
    ]
    ordered = sorted(rows, key=lambda it: it[:3])
    (answer,) = yield [dropping(of, account, [(name, value) for *_, name, value in ordered], per_account, part="room")]
    left = dropped(of, account, answer)
    yield from settling(of, left)
    mine = {name for is_mine, _, name, _ in rows if is_mine}
    return [one.device_id for one in left if one.device_id in mine]


def _others(owners: Sequence[Sequence[bytes | None]], account: str, device_id: str) -> Iterator[tuple[str, str]]:
    """Digest and device of those whose a push token was, but for this one."""
    for whose, device, *_ in owners:
        if whose and device and (whose.decode(), device.decode()) != (account, device_id):
            yield whose.decode(), device.decode()


def _replaced(of: Change, account: str, device_id: str, value: bytes | None, new: Registration) -> list[Leftover]:
    registration = of.read(device_id, value)
    if registration is None:
        return []
    return [Leftover(account, device_id, of.field(device_id), registration, new)]
