"""What the worker reads and removes of registrations."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from proxy.domain.devices import AccountsRead, Destination, Device, RemovalResult
from proxy.domain.preferences import UNREADABLE, Mute, Preferences
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from tests.store.samples import DAY, MS, NOON, SECOND, apns_lane, device, job, mipush_lane, raw, with_redis
from tests.store.samples import SHARDED as LAYOUT


@pytest.fixture
def devices(store: Store, app_id: str) -> RedisDeviceRegistry:
    return RedisDeviceRegistry(store, {"main": app_id})


def book(redis: object, app_id: str, instance: str = "worker-1") -> RedisAddresses:
    return RedisAddresses(redis, {"main": app_id}, instance)


async def devices_now(redis: Any, app_id: str, targets: Sequence[tuple[str, str]]) -> list[Device | None]:
    """The device of each (account, device id), as a worker reads it before it sends."""
    lane = apns_lane(app_id)
    read = await book(redis, app_id).destinations(lane, [job(lane, *target) for target in targets])
    return [one.device for one in read.destinations]


def test_many_accounts_devices_come_in_the_order_asked_for(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    phone, pad = device(), device("cai", "pad", "c3")
    for one in (phone, pad):
        devices.register(one)
    asked = ["cai", "ghost", "ben"]
    found = with_redis(store_url, lambda redis: book(redis, app_id).read_accounts(app_id, ["main"], asked))
    assert found == AccountsRead({("main", "cai"): [pad], ("main", "ghost"): [], ("main", "ben"): [phone]}, frozenset())


def test_who_is_blocked_is_read_with_the_devices(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    devices.register(device())
    name = uuid.uuid4().hex
    RedisBlocks(store).block(name)
    found = with_redis(store_url, lambda redis: book(redis, app_id).read_accounts(app_id, ["main"], ["ben", name]))
    assert found.blocked == {name}
    read = with_redis(
        store_url,
        lambda redis: book(redis, app_id).destinations(apns_lane(app_id), [job(apns_lane(app_id), account=name)]),
    )
    assert [one.blocked for one in read.destinations] == [True]


def test_what_accounts_have_set_is_read_with_their_devices_and_what_is_unreadable_shows_least(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    book_of_web, muted = RedisPreferences(store, {"main": app_id}), Preferences({"p2p:ann": Mute()})
    devices.register(device())
    for account in ("ben", "cai"):
        book_of_web.write("main", account, muted, None)
    raw(store, "SET", LAYOUT.preferences(app_id, "cai"), b'{"v":99}')
    apps: list[str]
    for apps in (["main"], []):  # the latter: where accounts are the addresses
        asked = partial(_read, app_id, apps, ["ghost", "ben", "cai"])
        found = with_redis(store_url, asked)
        assert found.preferences == {"ben": muted, "cai": UNREADABLE}
        assert len(found.devices) == 3 * len(apps)


async def _read(app_id: str, apps: Sequence[str], names: Sequence[str], redis: Any) -> AccountsRead:
    return await book(redis, app_id).read_accounts(app_id, apps, names)


def test_a_pause_of_the_lane_is_read_with_the_destinations(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> list[bool]:
        before = await book(redis, app_id).destinations(lane, [job(lane)])
        await RedisLaneStates(redis).pause(lane, "quota", NOON, NOON + SECOND)
        after = await book(redis, app_id).destinations(lane, [job(lane)])
        return [before.is_paused, after.is_paused]

    assert with_redis(store_url, scenario) == [False, True]


def test_a_device_with_another_push_token_than_its_job_was_planned_for_is_looked_up_once_more(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    lane, former, now = apns_lane(app_id), device(push_token="a1"), device(push_token="b2")
    devices.register(now)
    jobs = [replace(job(lane), token_digest=one.token_digest) for one in (former, now)]
    read = with_redis(store_url, lambda redis: book(redis, app_id).destinations(lane, jobs))
    assert [one.device for one in read.destinations] == [now, now]


def test_an_unreadable_registration_is_no_device_and_costs_no_other_its_alert(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    phone, broken = device(), device("ben", "pad", "c3")
    for one in (phone, broken):
        devices.register(one)
    account = LAYOUT.account(app_id, "main", "ben")
    owner_key, _, _ = raw(store, "HGET", account, "pad").partition(b"\n")
    raw(store, "HSET", account, "pad", owner_key + b'\n{"v":99}')
    read = with_redis(store_url, lambda redis: book(redis, app_id).read_accounts(app_id, ["main"], ["ben"]))
    assert read.devices == {("main", "ben"): [phone]}
    targets = [("ben", "pad"), ("ben", "phone")]
    assert with_redis(store_url, lambda redis: devices_now(redis, app_id, targets)) == [None, phone]
    assert devices.devices_of("main", "ben") == [phone]


def test_what_is_owned_is_told_from_what_is_gone_or_moved(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    kept, moved = device("ben"), device("cai", push_token="c3")
    for one in (kept, moved, device("dan", push_token="c3")):
        devices.register(one)
    targets = [("ben", "phone"), ("cai", "phone"), ("ben", "never"), ("ben", "phone")]
    assert with_redis(store_url, lambda redis: devices_now(redis, app_id, targets)) == [
        kept,
        None,
        None,
        kept,
    ]
    assert with_redis(store_url, lambda redis: devices_now(redis, app_id, [])) == []


def test_an_index_that_still_names_a_moved_token_does_not_count(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    devices.register(device("ben"))
    stale = raw(store, "HGET", LAYOUT.account(app_id, "main", "ben"), "phone")
    devices.register(device("cai"))
    raw(store, "HSET", LAYOUT.account(app_id, "main", "ben"), "phone", stale)
    found = with_redis(store_url, lambda redis: devices_now(redis, app_id, [("ben", "phone"), ("cai", "phone")]))
    assert found == [None, device("cai")]


@pytest.mark.parametrize(("since", "removal", "left"), [
    (NOON + MS, RemovalResult.REMOVED, 0),
    (NOON, RemovalResult.KEPT, 1),
    (NOON - SECOND, RemovalResult.KEPT, 1),
])  # fmt: skip
def test_a_dead_tokens_registration_goes_only_if_it_was_made_before(
    devices: RedisDeviceRegistry, store_url: str, app_id: str, since: datetime, removal: RemovalResult, left: int
) -> None:
    devices.register(device())
    assert with_redis(store_url, lambda it: book(it, app_id).remove(device(), since, NOON + DAY)) is removal
    assert len(devices.devices_of("main", "ben")) == left


def test_a_registration_that_moved_since_the_push_stays_its_new_owners(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    devices.register(device("cai"))
    assert (
        with_redis(store_url, lambda it: book(it, app_id).remove(device("ben"), NOON + DAY, NOON + DAY))
        is RemovalResult.GONE
    )
    assert len(devices.devices_of("main", "cai")) == 1


def test_removing_an_old_token_leaves_the_new_one_of_the_same_device(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    devices.register(device(push_token="a1"))
    devices.register(device(push_token="b2"))
    assert (
        with_redis(store_url, lambda it: book(it, app_id).remove(device(push_token="a1"), NOON + DAY, NOON + DAY))
        is RemovalResult.GONE
    )
    assert [it.push_token for it in devices.devices_of("main", "ben")] == ["b2"]


def test_trouble_is_noted_and_cleared_by_registering_again(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    devices.register(device())
    with_redis(store_url, lambda it: book(it, app_id).mark_invalid(device(), "BadDeviceToken"))
    assert [it.invalid_reason for it in devices.devices_of("main", "ben")] == ["BadDeviceToken"]
    assert [it.invalid_reason for it in devices.all_devices("main")] == ["BadDeviceToken"]
    devices.register(device())
    assert [it.invalid_reason for it in devices.devices_of("main", "ben")] == [""]


def test_trouble_of_a_former_owner_is_not_noted_on_the_new_one(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    devices.register(device("cai"))
    with_redis(store_url, lambda it: book(it, app_id).mark_invalid(device("ben"), "BadDeviceToken"))
    with_redis(store_url, lambda it: book(it, app_id).mark_invalid(device("ben", push_token="never"), "BadDeviceToken"))
    assert [it.invalid_reason for it in devices.devices_of("main", "cai")] == [""]
    assert raw(store, "EXISTS", LAYOUT.push_token(app_id, "main", "apns", "never")) == 0


def test_an_unknown_account_is_remembered_for_a_while(store: Store, store_url: str, app_id: str) -> None:
    lane = mipush_lane(app_id)

    async def scenario(redis: object) -> set[str]:
        await book(redis, app_id).remember_unknown(lane, "ben", 6 * 3600 * SECOND)
        jobs = [job(lane, account, "") for account in ("ann", "ben", "cai")]
        read = await book(redis, app_id).destinations(lane, jobs)
        return {one.account for one, found in zip(jobs, read.destinations, strict=True) if found.unknown}

    assert with_redis(store_url, scenario) == {"ben"}
    assert 0 < raw(store, "TTL", LAYOUT.unknown(lane, "ben")) <= 6 * 3600


def test_a_device_that_is_to_rest_rests_for_all_and_as_long_as_the_longest_asked_for(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    phone, pad = device("ben"), device("ben", "pad", push_token="c3")
    for one in (phone, pad):
        devices.register(one)
    targets = [("ben", "phone"), ("ben", "pad"), ("ben", "never")]

    async def scenario(redis: Any) -> list[Destination]:
        for seconds in (20, 60, 5):
            await book(redis, app_id).rest(pad, seconds * SECOND)
        jobs = [job(apns_lane(app_id), *target) for target in targets]
        return (await book(redis, app_id, "another").destinations(apns_lane(app_id), jobs)).destinations

    phones, pads, never = with_redis(store_url, scenario)
    assert (phones, never) == (Destination(phone), Destination())
    assert pads.device == pad
    assert 50 * SECOND < pads.rests <= 60 * SECOND
