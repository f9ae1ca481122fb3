"""Stores that throw away what they were given, and stores that do not say whether they do."""

from collections.abc import Iterator
from typing import Any

import pytest

from proxy.domain.lanes import Callbacks, Lane
from proxy.errors import BadSettings
from proxy.store.connection import Store
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.store.server.health import RedisHealth
from proxy.store.server.policy import eviction_fault, read_policy, refuse_eviction_async, refuse_unfit
from tests.store.samples import NOON, apns_lane, queue_of, raw, with_redis

EVICTING = ("allkeys-lru", "volatile-lru", "allkeys-random", "volatile-ttl")


@pytest.fixture(scope="module")
def own_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store whose settings may be changed; `hosted` may not see them, `silent` nothing at all."""
    folder = tmp_path_factory.mktemp("own")
    url = ensure_store(folder)
    for user, hidden in (("hosted", ["-config"]), ("silent", ["-config", "-info"])):
        raw(Store(url), "ACL", "SETUSER", user, "on", "nopass", "+@all", *hidden, "~*", "&*")
    yield url
    stop_store(folder)


@pytest.fixture
def own(own_url: str) -> Iterator[Store]:
    store = Store(own_url)
    yield store
    raw(store, "CONFIG", "SET", "maxmemory-policy", "noeviction")


def as_user(url: str, name: str) -> Store:
    return Store(url.replace("unix://", f"unix://{name}:any@"))


@pytest.mark.parametrize("policy", EVICTING)
def test_a_store_that_evicts_is_refused_with_what_mends_it(own: Store, own_url: str, policy: str) -> None:
    raw(own, "CONFIG", "SET", "maxmemory-policy", policy)
    with pytest.raises(
        BadSettings, match=rf"store.url: .* is {policy}: .*redis-cli CONFIG SET maxmemory-policy noevic"
    ):
        refuse_unfit(own)
    with pytest.raises(BadSettings, match=policy):
        with_redis(own_url, refuse_eviction_async)


def test_a_store_that_keeps_all_or_is_away_is_not_refused(own: Store, own_url: str) -> None:
    refuse_unfit(own)
    with_redis(own_url, refuse_eviction_async)
    refuse_unfit(Store("unix:///nonexistent/socket"))
    assert eviction_fault(own.call(read_policy)) is None


def make_groups(url: str, lane: Lane) -> None:
    async def scenario(redis: Any) -> None:
        for source in (Callbacks(lane.app_id), lane):
            await queue_of(redis).ensure_groups(source)

    with_redis(url, scenario)


def test_a_hosted_store_that_hides_its_settings_still_tells_its_policy(own: Store, own_url: str) -> None:
    raw(own, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    hosted = as_user(own_url, "hosted")
    with pytest.raises(BadSettings, match="or the parameters of a hosted store"):
        refuse_unfit(hosted)


def test_one_that_tells_nothing_is_not_refused_and_the_details_say_so(own: Store, own_url: str, app_id: str) -> None:
    silent, lane = as_user(own_url, "silent"), apns_lane(app_id)
    refuse_unfit(silent)
    with_redis(own_url.replace("unix://", "unix://silent:any@"), refuse_eviction_async)
    make_groups(own_url, lane)
    health = RedisHealth(silent, [lane], lambda: NOON).check()
    assert health.ready
    assert health.details["eviction"].startswith("unknown: the store does not show its maxmemory-policy")
    assert health.details["persistence"].startswith("unknown")


def test_a_service_on_a_store_that_evicts_is_not_ready(own: Store, own_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)
    make_groups(own_url, lane)
    assert RedisHealth(own, [lane], lambda: NOON).check().ready
    raw(own, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    health = RedisHealth(own, [lane], lambda: NOON).check()
    assert not health.ready
    assert "noeviction" in health.details["eviction"]
