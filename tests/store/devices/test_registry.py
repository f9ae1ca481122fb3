"""Registrations: a push token has one owner at any moment, while others register or remove it at the same time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest

from proxy.domain.devices import ApnsEnvironment, Device, Platform
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.changes import change
from proxy.store.devices.registering import registering
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.scripts import ask_now
from tests.store.samples import NOON, SECOND, apns_lane, device, job, raw, with_redis
from tests.store.samples import SHARDED as LAYOUT
from tests.store.trips import counted_trips


@pytest.fixture
def devices(store: Store, app_id: str) -> RedisDeviceRegistry:
    return RedisDeviceRegistry(store, {"main": app_id, "beta": app_id})


def owned(url: str, app_id: str, targets: Sequence[tuple[str, str]]) -> list[Device | None]:
    lane = apns_lane(app_id)
    jobs = [job(lane, *target) for target in targets]
    read = with_redis(url, lambda redis: RedisAddresses(redis, {"main": app_id}, "w").destinations(lane, jobs))
    return [one.device for one in read.destinations]


def test_a_registration_is_read_back_whole(devices: RedisDeviceRegistry) -> None:
    one = replace(device(resource="r1"), environment=ApnsEnvironment.SANDBOX, locale="zh-CN")
    devices.register(one)
    assert devices.devices_of("main", "ben") == [one]
    assert devices.devices_of("main", "cai") == []
    assert devices.devices_of("beta", "ben") == []


def test_an_accounts_devices_come_oldest_first(devices: RedisDeviceRegistry) -> None:
    pad, phone = device(device_id="pad", push_token="c3", registered_at=NOON + SECOND), device()
    for one in (pad, phone):
        devices.register(one)
    assert devices.devices_of("main", "ben") == [phone, pad]


def test_a_token_that_turns_up_under_another_user_moves_in_one_step(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    assert not devices.register(device("ben")).moved
    assert devices.register(device("cai", registered_at=NOON + SECOND)).moved
    assert devices.devices_of("main", "ben") == []
    assert [it.account for it in devices.devices_of("main", "cai")] == ["cai"]
    assert owned(store_url, app_id, [("ben", "phone")]) == [None]


def test_a_token_moves_between_two_devices_of_one_account(devices: RedisDeviceRegistry) -> None:
    devices.register(device(device_id="old-id"))
    assert not devices.register(device(device_id="new-id")).moved
    assert [it.device_id for it in devices.devices_of("main", "ben")] == ["new-id"]


def test_a_token_is_another_one_in_another_section_or_on_another_platform(devices: RedisDeviceRegistry) -> None:
    first, second = device("ben"), replace(device("cai"), app="beta")
    third = device("dan", platform=Platform.MIPUSH)
    for one in (first, second, third):
        devices.register(one)
    assert devices.devices_of("main", "ben") == [first]
    assert devices.devices_of("beta", "cai") == [second]
    assert devices.devices_of("main", "dan") == [third]


def test_registering_with_a_new_token_frees_the_old_one(
    devices: RedisDeviceRegistry, store: Store, app_id: str
) -> None:
    devices.register(device(push_token="a1"))
    devices.register(device(push_token="b2"))
    assert raw(store, "EXISTS", LAYOUT.push_token(app_id, "main", "apns", "a1")) == 0
    devices.register(device("cai", push_token="a1"))
    assert [it.push_token for it in devices.devices_of("main", "ben")] == ["b2"]


def test_a_token_that_was_lost_to_another_user_is_not_taken_from_him_by_a_new_registration(
    devices: RedisDeviceRegistry, store: Store, app_id: str
) -> None:
    devices.register(device("ben"))
    # the index of a store that lost one step: ben's list still names the token that is cai's
    stale = raw(store, "HGET", LAYOUT.account(app_id, "main", "ben"), "phone")
    devices.register(device("cai"))
    raw(store, "HSET", LAYOUT.account(app_id, "main", "ben"), "phone", stale)
    assert devices.devices_of("main", "ben") == []
    devices.register(device("ben", push_token="b2"))
    assert [it.push_token for it in devices.devices_of("main", "cai")] == ["a1b2"]
    assert [it.push_token for it in devices.devices_of("main", "ben")] == ["b2"]


def test_of_many_users_who_register_a_token_at_once_one_has_it(devices: RedisDeviceRegistry) -> None:
    users = [f"user-{n}" for n in range(24)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda user: devices.register(device(user)), users))
    assert sum(len(devices.devices_of("main", user)) for user in users) == 1
    assert len(list(devices.all_devices("main"))) == 1


def test_a_removed_device_is_gone_and_its_token_free(devices: RedisDeviceRegistry, store: Store, app_id: str) -> None:
    devices.register(device())
    assert devices.remove("main", "ben", "phone")
    assert not devices.remove("main", "ben", "phone")
    assert devices.devices_of("main", "ben") == []
    assert raw(store, "EXISTS", LAYOUT.push_token(app_id, "main", "apns", "a1b2")) == 0


def test_nobody_removes_a_device_of_another_user(devices: RedisDeviceRegistry, store: Store, app_id: str) -> None:
    devices.register(device("cai"))
    assert not devices.remove("main", "ben", "phone")
    devices.register(device("ben", push_token="b2"))
    stale = raw(store, "HGET", LAYOUT.account(app_id, "main", "ben"), "phone")
    devices.register(device("cai", device_id="pad", push_token="b2"))
    raw(store, "HSET", LAYOUT.account(app_id, "main", "ben"), "phone", stale)
    assert not devices.remove("main", "ben", "phone")
    assert len(devices.devices_of("main", "cai")) == 2


def test_all_devices_of_a_section_are_found_and_no_others(devices: RedisDeviceRegistry) -> None:
    mine = [device(f"user-{n}", push_token=f"{n:04x}") for n in range(30)]
    for one in (*mine, replace(device(), app="beta")):
        devices.register(one)
    assert sorted(it.account for it in devices.all_devices("main")) == sorted(it.account for it in mine)


def test_registrations_end_after_400_days_without_a_new_one(
    devices: RedisDeviceRegistry, store: Store, app_id: str
) -> None:
    devices.register(device())
    for key in (LAYOUT.account(app_id, "main", "ben"), LAYOUT.push_token(app_id, "main", "apns", "a1b2")):
        assert 0 < raw(store, "TTL", key) <= keys.DEVICE_TTL_S


def test_no_key_shows_an_account_or_a_push_token(devices: RedisDeviceRegistry, store: Store, app_id: str) -> None:
    devices.register(device("someone", push_token="deadbeef"))
    names = store.call(lambda it: list(it.scan_iter(match=f"proxy:*{app_id}*", count=1000)))
    assert {name.split(b":")[3] for name in names} == {b"account", b"token", b"devices"}
    assert not [name for name in names if b"someone" in name or b"deadbeef" in name]


def test_what_is_registered_again_takes_four_round_trips_and_a_list_of_devices_two(store_url: str, app_id: str) -> None:
    with counted_trips(store_url) as relay:
        devices = RedisDeviceRegistry(Store(relay.url), {"main": app_id})
        for one in (device(), device(device_id="pad", push_token="b2")):
            devices.register(one)
        before = relay.count
        devices.register(device(registered_at=NOON + SECOND))
        registered = relay.count
        assert len(devices.devices_of("main", "ben")) == 2
        assert (registered - before, relay.count - registered) == (4, 2)


@pytest.fixture
def three_at_most(store: Store, app_id: str) -> RedisDeviceRegistry:
    return RedisDeviceRegistry(store, {"main": app_id, "beta": app_id}, per_account=3)


def nth(n: int, account: str = "ben") -> Device:
    return device(account, f"phone-{n}", f"{account}{n}", registered_at=NOON + n * SECOND)


def test_beyond_the_cap_the_oldest_registration_goes_with_its_token(
    three_at_most: RedisDeviceRegistry, store: Store, app_id: str
) -> None:
    assert [three_at_most.register(nth(n)).gone for n in range(5)] == [[], [], [], ["phone-0"], ["phone-1"]]
    assert three_at_most.devices_of("main", "ben") == [nth(2), nth(3), nth(4)]
    kept = store.call(lambda it: list(it.scan_iter(match=f"proxy:*{app_id}*:token:*", count=1000)))
    assert len(kept) == 3


def test_who_registers_again_is_no_longer_the_oldest(three_at_most: RedisDeviceRegistry) -> None:
    for n in range(3):
        three_at_most.register(nth(n))
    again = replace(nth(0), registered_at=NOON + 9 * SECOND)
    assert three_at_most.register(again).gone == []
    assert three_at_most.register(nth(4)).gone == ["phone-1"]
    assert three_at_most.devices_of("main", "ben") == [nth(2), nth(4), again]


def test_the_new_one_never_goes_even_where_its_clock_is_behind(three_at_most: RedisDeviceRegistry) -> None:
    for n in range(5, 8):
        three_at_most.register(nth(n))
    assert three_at_most.register(nth(0)).gone == ["phone-5"]
    assert nth(0) in three_at_most.devices_of("main", "ben")


def test_other_accounts_and_other_apps_keep_theirs(three_at_most: RedisDeviceRegistry) -> None:
    for n in range(3):
        for one in (nth(n), nth(n, "cai"), replace(nth(n), app="beta")):
            assert three_at_most.register(one).gone == []
    assert three_at_most.register(nth(3)).gone == ["phone-0"]
    assert len(three_at_most.devices_of("main", "cai")) == len(three_at_most.devices_of("beta", "ben")) == 3


def test_a_lower_cap_is_reached_with_the_next_registration(
    devices: RedisDeviceRegistry, store: Store, three_at_most: RedisDeviceRegistry
) -> None:
    for n in range(10):
        assert devices.register(nth(n)).gone == []
    assert devices.register(nth(10)).gone == ["phone-0"]
    assert three_at_most.register(nth(11)).gone == [f"phone-{n}" for n in range(1, 9)]
    assert three_at_most.devices_of("main", "ben") == [nth(9), nth(10), nth(11)]


def test_an_entry_whose_token_is_another_users_makes_room_before_any_device_does(
    three_at_most: RedisDeviceRegistry, store: Store, app_id: str
) -> None:
    three_at_most.register(nth(0))
    stale = raw(store, "HGET", LAYOUT.account(app_id, "main", "ben"), "phone-0")
    moved = replace(nth(0), account="cai", registered_at=NOON + 9 * SECOND)
    three_at_most.register(moved)
    raw(store, "HSET", LAYOUT.account(app_id, "main", "ben"), "phone-0", stale)
    assert [three_at_most.register(nth(n)).gone for n in (1, 2, 3)] == [[], [], []]
    assert three_at_most.devices_of("main", "ben") == [nth(1), nth(2), nth(3)]
    assert three_at_most.devices_of("main", "cai") == [moved]


def test_of_many_devices_registered_at_once_the_cap_remains_and_each_other_is_told_once(
    three_at_most: RedisDeviceRegistry, store: Store, app_id: str
) -> None:
    with ThreadPoolExecutor(8) as threads:
        gone = list(threads.map(lambda n: three_at_most.register(nth(n)).gone, range(40)))
    told = [device_id for ids in gone for device_id in ids]
    left = [it.device_id for it in three_at_most.devices_of("main", "ben")]
    assert len(left) == 3
    assert sorted(told + left) == sorted(f"phone-{n}" for n in range(40))
    assert len(store.call(lambda it: list(it.scan_iter(match=f"proxy:*{app_id}*:token:*", count=1000)))) == 3


def test_who_loses_their_place_while_they_register_is_told_nothing_of_a_lost_token(
    three_at_most: RedisDeviceRegistry, store: Store, app_id: str
) -> None:
    """After any of its round trips three others come and make room for themselves."""
    for trips in range(1, 6):
        steps = registering(change(store.layout, app_id, "main"), nth(10 * trips), 3)
        commands, taken = next(steps), 0
        with suppress(StopIteration):
            while True:
                answers = store.call(partial(ask_now, commands=commands))
                taken += 1
                if taken == trips:
                    for number in (1, 2, 3):
                        three_at_most.register(nth(10 * trips + number))
                commands = steps.send(answers)
        assert len(three_at_most.devices_of("main", "ben")) == 3, trips
