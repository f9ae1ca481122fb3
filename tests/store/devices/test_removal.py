"""The guard on mass removals, removed registrations that are kept for a week, and the way back."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from proxy.domain.callbacks import account_digest
from proxy.domain.devices import Device, Platform, RemovalResult
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.changes import change
from proxy.store.devices.device_count import count_devices
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard
from proxy.store.devices.removed import RedisRemovedDevices, guard_details, removal_metrics
from proxy.store.devices.restoring import RestoreResult
from tests.store.samples import DAY, MS, NOON, SECOND, apns_lane, device, raw, sandbox_lane, with_redis
from tests.store.samples import SHARDED as LAYOUT

HOUR = timedelta(hours=1)
GUARD = RemovalGuard(share=0.2, at_least=3)


class World:
    """One section's devices, its worker and its operator."""

    def __init__(self, store: Store, store_url: str, app_id: str) -> None:
        self.store, self.url, self.app_id = store, store_url, app_id
        self.devices = RedisDeviceRegistry(store, {"main": app_id})
        self.removed = RedisRemovedDevices(store, {"main": app_id}, per_account=3)
        self.told: list[tuple[str, int, int]] = []

    def register(self, count: int) -> list[Device]:
        made = [device(f"user-{n}", push_token=f"token-{n}") for n in range(count)]
        for one in made:
            self.devices.register(one)
        return made

    def remove(
        self, which: Sequence[Device], now: datetime = NOON + DAY, removal_guard: RemovalGuard = GUARD
    ) -> list[RemovalResult]:
        async def scenario(redis: Any) -> list[RemovalResult]:
            removal = DeviceRemoval(redis, {"main": self.app_id}, removal_guard, self._tell)
            return [await removal.remove(one, now, now) for one in which]

        return with_redis(self.url, scenario)

    def _tell(self, one: Device, devices: int, of: int) -> None:
        self.told.append((f"{one.app}/{one.platform}", devices, of))

    def registered(self) -> int:
        return len(list(self.devices.all_devices("main")))

    def lying(self) -> list[Device]:
        return [it.device for it in self.removed.removed("main", NOON)]

    def sentences(self, now: datetime) -> dict[str, str]:
        return self.store.call(lambda redis: guard_details(redis, [apns_lane(self.app_id)], now))


@pytest.fixture
def world(store: Store, store_url: str, app_id: str) -> World:
    return World(store, store_url, app_id)


def test_more_than_the_share_of_an_apps_devices_within_an_hour_stay(world: World) -> None:
    phones = world.register(30)
    assert world.remove(phones) == [RemovalResult.REMOVED] * 6 + [RemovalResult.HELD] * 24  # a fifth of 30 is 6
    assert world.registered() == 24
    assert world.told == [("main/apns", 7, 30)]  # once, when it begins
    (sentence,) = world.sentences(NOON + DAY).values()
    assert "30 of 30 dead within an hour" in sentence
    assert "app-proxy devices restore --app main" in sentence


def test_both_lanes_of_apns_tell_once_of_their_devices(world: World) -> None:
    lanes = [apns_lane(world.app_id), sandbox_lane(world.app_id)]
    world.remove(world.register(30))
    told = world.store.call(lambda redis: guard_details(redis, lanes, NOON + DAY))
    assert list(told) == ["devices of main/apns"]
    rows = world.store.call(lambda redis: removal_metrics(redis, lanes, NOON + DAY))
    assert [(row.name, row.labels["channel"], row.value) for row in rows] == [
        ("app_proxy_devices_removed", "apns", 6),
        ("app_proxy_devices_kept_by_guard", "apns", 24),
    ]


def test_few_devices_go_whatever_share_they_are(world: World) -> None:
    assert world.remove(world.register(3), removal_guard=RemovalGuard(0.2, at_least=4)) == [RemovalResult.REMOVED] * 3
    assert world.sentences(NOON + DAY) == {}


def test_a_share_of_one_never_holds(world: World) -> None:
    assert world.remove(world.register(8), removal_guard=RemovalGuard(1.0, at_least=1)) == [RemovalResult.REMOVED] * 8
    assert (
        world.remove(world.register(4), removal_guard=RemovalGuard(1.0, at_least=1)) == [RemovalResult.REMOVED] * 4
    )  # counted or not


def test_a_device_counts_once_however_many_alerts_hit_it(world: World) -> None:
    phones = world.register(10)
    assert world.remove(phones[:2]) == [RemovalResult.REMOVED] * 2
    assert world.remove([phones[0]] * 9) == [RemovalResult.GONE] * 9
    assert world.remove([phones[2], phones[2]]) == [RemovalResult.HELD] * 2
    world.devices.register(phones[0])
    assert world.remove([phones[0]] * 9) == [RemovalResult.HELD] * 9
    assert "3 of 10" in world.sentences(NOON + DAY)["devices of main/apns"]


def test_the_brake_ends_by_itself_once_the_hour_allows_it(world: World) -> None:
    phones = world.register(20)
    began = NOON + DAY
    assert world.remove(phones[:5], began) == [RemovalResult.REMOVED] * 4 + [RemovalResult.HELD]
    assert world.remove(phones[5:6], began + HOUR / 2) == [RemovalResult.HELD]
    later = began + HOUR + MS
    assert world.remove(phones[5:8], later) == [RemovalResult.REMOVED] * 3
    assert world.remove(phones[8:10], later) == [RemovalResult.HELD] * 2  # of the 16 that are left
    assert world.told == [("main/apns", 5, 20)]  # it had held within this hour: no other line for each that is kept
    assert "5 of 16" in world.sentences(later + HOUR - MS)["devices of main/apns"]
    assert world.sentences(later + HOUR) == {}
    assert world.remove(phones[8:12], later + HOUR) == [RemovalResult.REMOVED] * 2 + [RemovalResult.HELD] * 2
    assert world.told[1:] == [("main/apns", 3, 13)]


def test_a_device_that_is_called_dead_again_and_again_keeps_the_brake_on(world: World) -> None:
    phones = world.register(20)
    world.remove(phones, NOON + DAY)
    for half_hours in range(1, 5):
        assert set(world.remove(phones[4:], NOON + DAY + half_hours * HOUR / 2)) == {RemovalResult.HELD}
    assert world.registered() == 16
    assert len(world.told) == 1


def test_the_number_of_devices_is_counted_and_never_believed_for_longer_than_an_hour(
    world: World, store: Store, app_id: str
) -> None:
    phones = world.register(10)
    world.remove(phones[:2])
    assert raw(store, "EXISTS", keys.removal_guard(app_id, "main", "apns")) == 0
    world.remove(phones[2:3])
    assert (
        raw(store, "HGET", keys.removal_guard(app_id, "main", "apns"), "devices") == b"10"
    )  # the two that had just gone are two of them
    world.register(100)
    assert world.remove(phones[3:4], NOON + DAY + HOUR / 2) == [RemovalResult.HELD]
    assert world.remove(phones[4:9], NOON + DAY + HOUR + MS) == [RemovalResult.REMOVED] * 5


def scans(store: Store) -> int:
    """How often the store was asked to look through all its keys."""
    calls: int = store.call(lambda redis: redis.info("commandstats")).get("cmdstat_scan", {}).get("calls", 0)
    return calls


@pytest.mark.parametrize(("shards", "as_many"), [(16, False), (1, False), (0, True)])
def test_devices_are_counted_by_a_scan_once_a_day_and_where_an_earlier_program_may_share_the_store_each_hour(
    world: World, store: Store, *, as_many: bool
) -> None:
    """That one knows no counter."""
    phones = world.register(40)
    looked = scans(store)
    assert world.remove(phones[:4]) == [RemovalResult.REMOVED] * 4
    first = scans(store) - looked
    assert first > 0
    assert world.remove(phones[4:8], NOON + DAY + 2 * HOUR) == [RemovalResult.REMOVED] * 4
    assert scans(store) - looked - first == (first if as_many else 0)
    assert int(raw(store, "HGET", keys.removal_guard(world.app_id, "main", "apns"), "devices")) == 34 + 2
    world.remove(phones[8:12], NOON + 2 * DAY)
    assert scans(store) - looked - first >= first


def test_a_counter_that_drifted_is_right_again_after_a_day(world: World, store: Store, app_id: str) -> None:
    phones = world.register(20)
    world.remove(phones[:3])
    for shard in LAYOUT.all_shards:
        raw(store, "INCRBY", LAYOUT.device_count(app_id, "main", "apns", shard), 100)
    world.remove(phones[3:6], NOON + DAY + 2 * HOUR)
    guard = keys.removal_guard(app_id, "main", "apns")
    assert int(raw(store, "HGET", guard, "devices")) > 1000
    world.remove(phones[6:9], NOON + 2 * DAY)
    assert int(raw(store, "HGET", guard, "devices")) == 20 - 8 + 2


def test_many_answers_at_once_are_counted_for_once(world: World, app_id: str) -> None:
    phones = world.register(40)

    async def scenario(redis: Any) -> list[RemovalResult]:
        removal = DeviceRemoval(redis, {"main": app_id}, GUARD)
        return await asyncio.gather(*(removal.remove(one, NOON + DAY, NOON + DAY) for one in phones))

    found = with_redis(world.url, scenario)
    assert (found.count(RemovalResult.REMOVED), found.count(RemovalResult.HELD)) == (8, 32)


def test_few_iphones_among_many_others_have_a_brake_of_their_own(world: World) -> None:
    for n in range(100):
        world.devices.register(device(f"other-{n}", push_token=f"reg-{n}", platform=Platform.MIPUSH))
    assert world.remove(world.register(10)) == [RemovalResult.REMOVED] * 2 + [RemovalResult.HELD] * 8


def test_sections_of_one_app_have_a_brake_each(world: World, app_id: str) -> None:
    world.remove(world.register(20))
    other = Device("other", "ben", "phone", device().platform, "o1", NOON)
    RedisDeviceRegistry(world.store, {"other": app_id}).register(other)

    async def scenario(redis: Any) -> RemovalResult:
        return await DeviceRemoval(redis, {"other": app_id}, GUARD).remove(other, NOON + DAY, NOON + DAY)

    assert with_redis(world.url, scenario) is RemovalResult.REMOVED


def test_released_by_the_operator_everything_goes_for_a_while(world: World) -> None:
    phones = world.register(20)
    world.remove(phones[:10])
    world.removed.release("main", NOON + DAY + HOUR)
    assert world.sentences(NOON + DAY) == {}
    assert world.remove(phones[4:15], NOON + DAY + MS) == [RemovalResult.REMOVED] * 11
    assert world.remove(phones[15:], NOON + DAY + HOUR) == [RemovalResult.HELD] * 5


def test_a_removed_device_is_kept_for_a_week_and_comes_back_as_it_was(world: World) -> None:
    phones = world.register(3)
    world.remove(phones[:2], NOON + DAY, RemovalGuard(1.0))
    first, second = sorted(world.removed.removed("main", NOON), key=lambda it: it.device.account)
    assert (first.device, first.at, second.device) == (phones[0], NOON + DAY, phones[1])
    assert list(world.removed.removed("main", NOON + DAY + MS)) == []
    assert world.removed.restore(first, only_ask=True) is RestoreResult.RESTORED
    assert world.devices.devices_of("main", "user-0") == []
    assert world.removed.restore(first) is RestoreResult.RESTORED
    assert world.devices.devices_of("main", "user-0") == [phones[0]]
    assert world.lying() == [phones[1]]
    assert world.removed.restore(first) is RestoreResult.GONE


def test_the_restored_do_not_count_as_removed(world: World) -> None:
    phones = world.register(20)
    world.remove(phones)
    for it in list(world.removed.removed("main", NOON)):
        assert world.removed.restore(it) is RestoreResult.RESTORED
    assert world.registered() == 20
    store_metrics = world.store.call(lambda redis: removal_metrics(redis, [apns_lane(world.app_id)], NOON + DAY))
    assert {it.name: it.value for it in store_metrics} == {
        "app_proxy_devices_removed": 0,
        "app_proxy_devices_kept_by_guard": 16,
    }
    later = NOON + DAY + HOUR  # those that the guard had kept have not been called dead for an hour
    assert world.remove(phones[:4], later) == [RemovalResult.REMOVED] * 4


def test_nothing_comes_back_over_a_newer_registration(world: World) -> None:
    phones = [device("ben", "phone", "t1"), device("cai", "phone", "t2"), device("dan", "phone", "t3")]
    for one in phones:
        world.devices.register(one)
    world.remove(phones, removal_guard=RemovalGuard(1.0))
    ben, cai, dan = sorted(world.removed.removed("main", NOON), key=lambda it: it.device.account)
    world.devices.register(device("ben", "phone", "t1-new"))  # the same device, another token
    world.devices.register(device("eve", "pad", "t2"))  # the same token, another person
    assert world.lying() == [dan.device]
    assert [world.removed.restore(it) for it in (ben, cai, dan)] == [
        RestoreResult.GONE,
        RestoreResult.GONE,
        RestoreResult.RESTORED,
    ]
    assert [it.push_token for it in world.devices.devices_of("main", "ben")] == ["t1-new"]
    assert world.devices.devices_of("main", "cai") == []


def test_what_an_earlier_program_registered_meanwhile_is_no_less_in_the_way(world: World, app_id: str) -> None:
    """It knows nothing of removed registrations, and leaves them there."""
    phones = [device("ben", "phone", "t1"), device("cai", "phone", "t2")]
    for one in phones:
        world.devices.register(one)
    world.remove(phones, removal_guard=RemovalGuard(1.0))
    ben, cai = sorted(world.removed.removed("main", NOON), key=lambda it: it.device.account)
    records = [keys.removed_record_of(LAYOUT.push_token(app_id, "main", "apns", token)) for token in ("t1", "t2")]
    kept = [raw(world.store, "DUMP", name) for name in records]
    world.devices.register(device("ben", "phone", "t1-new"))
    world.devices.register(device("eve", "pad", "t2"))
    for name, dump in zip(records, kept, strict=True):
        raw(world.store, "RESTORE", name, 0, dump)
    assert world.removed.restore(ben) is RestoreResult.DEVICE_REGISTERED
    assert world.removed.restore(cai) is RestoreResult.TOKEN_REGISTERED


def test_a_user_who_removes_his_device_does_so_for_good(world: World) -> None:
    phones = world.register(2)
    world.remove(phones[:1])
    assert not world.devices.remove("main", "user-0", "phone")  # it is gone already, but now its user says so
    assert world.devices.remove("main", "user-1", "phone")
    assert world.lying() == []


def test_an_account_gets_no_more_devices_back_than_it_may_have(world: World) -> None:
    old = device("ben", "old", "t0")
    world.devices.register(old)
    world.remove([old])
    for number in range(3):
        world.devices.register(device("ben", f"phone-{number}", f"t-{number}"))
    (it,) = world.removed.removed("main", NOON)
    assert world.removed.restore(it) is RestoreResult.NO_ROOM


def test_all_that_removals_leave_ends_by_itself(world: World, store: Store, app_id: str) -> None:
    world.remove(world.register(20))
    week = 7 * 86_400
    lives = {
        keys.removed(app_id, "main", "apns"): week,
        keys.removed_record_of(LAYOUT.push_token(app_id, "main", "apns", "token-0")): week,
        LAYOUT.removed_of_account(app_id, "main", account_digest("user-0")): week,
        keys.held(app_id, "main", "apns"): 3600,
        keys.removal_guard(app_id, "main", "apns"): 86_400,
    }  # fmt: skip
    for name, life in lives.items():
        assert 0 < raw(store, "TTL", name) <= life


def test_a_registration_made_after_the_answers_moment_is_not_counted(world: World) -> None:
    phones = world.register(20)
    assert world.remove(phones, NOON - SECOND) == [RemovalResult.KEPT] * 20
    assert world.sentences(NOON) == {}


def test_the_daily_count_frees_push_tokens_that_no_list_names(store: Store, store_url: str, app_id: str) -> None:
    """A change may leave one whose process stood still for a minute. One that is noted is a change's own."""
    world = World(store, store_url, app_id)
    kept, orphan, noted, fresh = world.register(4)
    changes = change(store.layout, app_id, "main")

    def forget(one: Device) -> str:
        account = account_digest(one.account)
        store.call(lambda redis: redis.hdel(changes.account(account), one.device_id))
        return account

    forget(orphan)
    note = changes.leftovers(forget(noted))
    store.call(lambda redis: redis.hset(note, "1-a:new\nphone", "registration"))
    owners = [store.layout.push_token(app_id, "main", "apns", it.push_token) for it in (kept, orphan, noted, fresh)]
    forget(fresh)
    store.call(lambda redis: redis.hset(owners[3], "at", to_ms(NOON + DAY)))

    async def count(redis: Any) -> None:
        await count_devices(redis, app_id, "main", "apns", 0, [], NOON + DAY)

    with_redis(store_url, count)
    assert [store.call(lambda redis, it=it: redis.exists(it)) for it in owners] == [1, 0, 1, 1]  # type: ignore[misc]
    guard = keys.removal_guard(app_id, "main", "apns")
    assert store.call(lambda redis: redis.hget(guard, "devices")) == b"3"
