"""What the worker reads and forgets of registrations, and which line of alerts is in the air."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.alerts import Order
from proxy.domain.devices import RemovalResult
from proxy.ports import Landing, LineState, Owned
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.records import load_order
from tests.store.samples import DAY, LEASE, MS, NOON, SECOND, device, mipush_lane, raw, with_redis


@pytest.fixture
def devices(store: Store, app_id: str) -> RedisDeviceRegistry:
    return RedisDeviceRegistry(store, {"main": app_id})


def book(redis: object, app_id: str, instance: str = "worker-1") -> RedisAddresses:
    return RedisAddresses(redis, {"main": app_id}, instance)


def test_many_accounts_devices_come_in_the_order_asked_for(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    phone, pad = device(), device("cai", "pad", "c3")
    for one in (phone, pad):
        devices.register(one)
    found = with_redis(store_url, lambda it: book(it, app_id).devices_of("main", ["cai", "nobody", "ben"]))
    assert found == [[pad], [], [phone]]


def test_an_unreadable_registration_is_no_device_and_costs_no_other_its_alert(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    phone, broken = device(), device("ben", "pad", "c3")
    for one in (phone, broken):
        devices.register(one)
    account = keys.account(app_id, "main", "ben")
    raw(store, "HSET", account, "pad", raw(store, "HGET", account, "pad").replace(b'"v":1', b'"v":99'))
    assert with_redis(store_url, lambda it: book(it, app_id).devices_of("main", ["ben"])) == [[phone]]
    targets = [("ben", "pad"), ("ben", "phone")]
    assert with_redis(store_url, lambda it: book(it, app_id).owned("main", targets)) == [None, Owned(phone)]
    assert devices.devices_of("main", "ben") == [phone]


def test_what_is_owned_is_told_from_what_is_gone_or_moved(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    kept, moved = device("ben"), device("cai", push_token="c3")
    for one in (kept, moved, device("dan", push_token="c3")):
        devices.register(one)
    targets = [("ben", "phone"), ("cai", "phone"), ("ben", "never"), ("ben", "phone")]
    assert with_redis(store_url, lambda it: book(it, app_id).owned("main", targets)) == [
        Owned(kept),
        None,
        None,
        Owned(kept),
    ]
    assert with_redis(store_url, lambda it: book(it, app_id).owned("main", [])) == []


def test_an_index_that_still_names_a_moved_token_does_not_count(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    devices.register(device("ben"))
    stale = raw(store, "HGET", keys.account(app_id, "main", "ben"), "phone")
    devices.register(device("cai"))
    raw(store, "HSET", keys.account(app_id, "main", "ben"), "phone", stale)
    found = with_redis(store_url, lambda it: book(it, app_id).owned("main", [("ben", "phone"), ("cai", "phone")]))
    assert found == [None, Owned(device("cai"))]


@pytest.mark.parametrize(("since", "removal", "left"), [
    (NOON + MS, RemovalResult.REMOVED, 0),
    (NOON, RemovalResult.KEPT, 1),
    (NOON - SECOND, RemovalResult.KEPT, 1),
])  # fmt: skip
def test_a_dead_tokens_registration_goes_only_if_it_was_made_before(
    devices: RedisDeviceRegistry, store_url: str, app_id: str, since: datetime, removal: RemovalResult, left: int
) -> None:
    devices.register(device())
    assert with_redis(store_url, lambda it: book(it, app_id).forget(device(), since, NOON + DAY)) is removal
    assert len(devices.devices_of("main", "ben")) == left


def test_a_registration_that_moved_since_the_push_stays_its_new_owners(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    devices.register(device("cai"))
    assert (
        with_redis(store_url, lambda it: book(it, app_id).forget(device("ben"), NOON + DAY, NOON + DAY))
        is RemovalResult.GONE
    )
    assert len(devices.devices_of("main", "cai")) == 1


def test_forgetting_an_old_token_leaves_the_new_one_of_the_same_device(
    devices: RedisDeviceRegistry, store_url: str, app_id: str
) -> None:
    devices.register(device(push_token="a1"))
    devices.register(device(push_token="b2"))
    assert (
        with_redis(store_url, lambda it: book(it, app_id).forget(device(push_token="a1"), NOON + DAY, NOON + DAY))
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
    assert raw(store, "EXISTS", keys.push_token(app_id, "main", "apns", "never")) == 0


def test_an_unknown_account_is_remembered_for_a_while(store: Store, store_url: str, app_id: str) -> None:
    lane = mipush_lane(app_id)

    async def scenario(redis: object) -> set[str]:
        await book(redis, app_id).remember_unknown(lane, "ben", 6 * 3600 * SECOND)
        return await book(redis, app_id).unknown(lane, ["ann", "ben", "cai"])

    assert with_redis(store_url, scenario) == {"ben"}
    assert 0 < raw(store, "TTL", keys.unknown(lane, "ben")) <= 6 * 3600


def test_a_line_carries_one_push_at_a_time_and_remembers_the_latest(store: Store, store_url: str, app_id: str) -> None:
    lane, first, later = mipush_lane(app_id), Order(1, 0, 5), Order(2, 0, 6)

    async def scenario(redis: object) -> None:
        mine, other = book(redis, app_id), book(redis, app_id, "worker-2")
        assert await mine.board(lane, ["a", "b"], LEASE) == [LineState(True), LineState(True)]
        assert await other.board(lane, ["a"], LEASE) == [LineState(False)]
        await other.land(lane, [Landing("a")], DAY)  # not its own: stays out
        assert await other.board(lane, ["a"], LEASE) == [LineState(False)]
        await mine.land(lane, [Landing("a", first, accepted=True, over=True), Landing("b")], DAY)
        assert await other.board(lane, ["a", "b"], LEASE) == [LineState(True, shown=first), LineState(True)]
        await other.land(lane, [Landing("a", later, accepted=True, over=True), Landing("b")], DAY)
        assert await mine.board(lane, ["a"], LEASE) == [LineState(True, shown=later)]

    with_redis(store_url, scenario)
    assert 0 < raw(store, "PTTL", keys.shown(lane, "a")) <= DAY / timedelta(milliseconds=1)
    assert 0 < raw(store, "PTTL", keys.flying(lane, "a")) <= LEASE / timedelta(milliseconds=1)


def test_a_late_landing_does_not_take_back_what_a_later_alert_shows(store_url: str, app_id: str) -> None:
    lane = mipush_lane(app_id)

    async def scenario(redis: object) -> None:
        slow, quick = book(redis, app_id), book(redis, app_id, "worker-2")
        await slow.board(lane, ["a"], LEASE)
        # after slow's claim on the line had run out
        await quick.land(lane, [Landing("a", Order(2, 0, 6), accepted=True, over=True)], DAY)
        await slow.land(lane, [Landing("a", Order(1, 0, 5), accepted=True, over=True)], DAY)
        assert await quick.board(lane, ["a"], LEASE) == [LineState(True, shown=Order(2, 0, 6))]

    with_redis(store_url, scenario)


def test_an_alert_counts_as_sent_from_its_departure_until_it_is_over(store: Store, store_url: str, app_id: str) -> None:
    lane, first, later = mipush_lane(app_id), Order(1, 0, 5), Order(2, 0, 6)

    async def sent(redis: object) -> list[Order | None]:
        return [it.sent for it in await book(redis, app_id, "worker-2").board(lane, ["a"], LEASE)]

    async def scenario(redis: object) -> None:
        mine = book(redis, app_id)
        await mine.board(lane, ["a"], LEASE)
        await mine.depart(lane, [("a", first)], DAY)
        assert await sent(redis) == [first]
        await mine.land(lane, [Landing("a", first)], DAY)  # no answer: it will be tried again
        assert await sent(redis) == [first]
        await mine.depart(lane, [("a", later)], DAY)
        await mine.land(lane, [Landing("a", first, over=True)], DAY)  # the other one still counts
        assert await sent(redis) == [later]
        await mine.land(lane, [Landing("a", later, over=True)], DAY)
        assert await sent(redis) == [None]

    with_redis(store_url, scenario)


def test_a_device_that_is_to_rest_rests_for_all_and_as_long_as_the_longest_asked_for(
    devices: RedisDeviceRegistry, store: Store, store_url: str, app_id: str
) -> None:
    phone, pad = device("ben"), device("ben", "pad", push_token="c3")
    for one in (phone, pad):
        devices.register(one)
    targets = [("ben", "phone"), ("ben", "pad"), ("ben", "never")]

    async def scenario(redis: Any) -> list[Owned | None]:
        for seconds in (20, 60, 5):
            await book(redis, app_id).rest(pad, seconds * SECOND)
        return await RedisAddresses(redis, {"main": app_id}, "another").owned("main", targets)

    phones, pads, never = with_redis(store_url, scenario)
    assert (phones, never) == (Owned(phone), None)
    assert pads is not None
    assert 50 * SECOND < pads.rests <= 60 * SECOND


_ORDERS = st.builds(Order, *[st.integers(0, 3) | st.sampled_from([9, 10, 2**53, 2**53 + 1, 10**25])] * 3)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pairs=st.lists(st.tuples(_ORDERS, _ORDERS), min_size=1, max_size=50))
def test_the_store_tells_the_later_of_two_alerts_as_the_domain_does(
    pairs: list[tuple[Order, Order]], store_url: str, app_id: str
) -> None:
    lane, run = mipush_lane(app_id), uuid.uuid4().hex
    lines = [f"{run}-{n}" for n in range(len(pairs))]

    async def scenario(redis: Any) -> list[Order]:
        for at in (0, 1):
            landed = [Landing(line, pair[at], accepted=True) for line, pair in zip(lines, pairs, strict=True)]
            await book(redis, app_id).land(lane, landed, DAY)
        return [load_order(await redis.get(keys.shown(lane, line))) for line in lines]

    expected = [first if first.is_later_than(second) else second for first, second in pairs]
    assert with_redis(store_url, scenario) == expected
