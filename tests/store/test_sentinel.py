"""A store whose master the sentinels name: who asks it, and who hears of a failover."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from redis.exceptions import RedisError

from proxy.errors import StoreUnavailable
from proxy.store.connection import Store, async_redis
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.inbox import RedisInbox
from proxy.store.scripts import ask
from proxy.store.server.health import RedisHealth
from tests.sentinels import APP_PASSWORD, PASSWORD, SENTINEL_PASSWORD, Replicated, replicated
from tests.store.samples import DAY, NOON, apns_lane, callback, device, for_inbox, with_redis
from tests.store.stale_masters import BEFORE_A_CALLBACKS_END

pytestmark = pytest.mark.system
T = TypeVar("T")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with replicated(tmp_path_factory.mktemp("sentinels")) as it:
        yield it


@pytest.fixture
def store(servers: Replicated) -> Store:
    return Store(servers.url())


def until_it_works(do: Callable[[], T]) -> T:
    until = time.monotonic() + 20
    while True:
        try:
            return do()
        except (StoreUnavailable, RedisError):
            assert time.monotonic() < until
            time.sleep(0.05)


def port_of(store: Store) -> int:
    return int(store.call(lambda redis: redis.connection.port))


@pytest.mark.parametrize("user", ["app", "default"])
def test_the_master_is_asked_by_threads_and_by_an_event_loop(servers: Replicated, user: str) -> None:
    async def scenario(redis: Any) -> tuple[list[Any], bytes]:
        return await ask(redis, [("GET", "proxy:written")]), await redis.get("proxy:written")

    store = Store(servers.url(user))
    store.call(lambda redis: redis.set("proxy:written", user))
    assert with_redis(servers.url(user), scenario) == ([user.encode()], user.encode())
    assert port_of(store) == servers.master()
    assert store.server_at().startswith(f"127.0.0.1:{servers.master()} (the master mymaster of 127.0.0.1:")


@pytest.mark.trial
def test_a_sentinel_that_hangs_costs_no_call(servers: Replicated) -> None:
    store = Store(servers.url())
    with servers.halted(servers.sentinel_ports[0]):
        assert store.call(lambda redis: redis.ping())
        assert with_redis(servers.url(), lambda redis: ask(redis, [("PING",)])) == [b"PONG"]


def test_no_password_is_in_what_can_be_printed(servers: Replicated, store: Store) -> None:
    printed = [store.at, store.server_at(), *store.call(lambda redis: [repr(redis), repr(redis.connection)])]
    with pytest.raises(StoreUnavailable) as unreachable:
        Store(servers.url().replace("/mymaster/", "/another/")).call(lambda redis: redis.ping())
    with pytest.raises(StoreUnavailable) as refused:
        Store(servers.url().replace(APP_PASSWORD, "wrong")).call(lambda redis: redis.ping())
    printed += [f"{it.value!r} {it.value} {it.value.at} {it.getrepr()}" for it in (unreachable, refused)]
    assert not [secret for secret in (PASSWORD, APP_PASSWORD, SENTINEL_PASSWORD) if secret in " ".join(printed)]


def test_a_server_that_is_no_master_is_not_even_asked_to_read(servers: Replicated) -> None:
    """The sentinels still name it: they find out later, or were cut off."""
    master = servers.master()
    other = next(port for port in servers.ports if port != master)
    kept, fresh = Store(servers.url("default")), Store(servers.url("default"))
    kept.call(lambda redis: redis.ping())

    async def scenario(redis: Any) -> None:
        for asked in (ask(redis, [("GET", "proxy:written")]), redis.get("proxy:written")):
            with pytest.raises(RedisError):
                await asked

    servers.server(master).replicaof("127.0.0.1", other)
    try:
        with pytest.raises(StoreUnavailable):
            kept.call(lambda redis: redis.set("proxy:written", "lost"))
        with pytest.raises(StoreUnavailable):
            fresh.call(lambda redis: redis.get("proxy:written"))
        with_redis(servers.url("default"), scenario)
    finally:
        servers.server(master).replicaof("NO", "ONE")
        servers.wait(lambda: servers.replicas_of(master) == 2, "the replicas")


def test_what_too_few_replicas_have_is_not_accepted_until_enough_have_it(
    servers: Replicated, store: Store, app_id: str
) -> None:
    inbox = RedisInbox(store, dedupe_ttl=DAY, cap=10, replicas=2)
    health = RedisHealth(store, [apns_lane(app_id)], lambda: NOON, replicas=2)
    first, second = (for_inbox(callback(app_id, sequence=number), NOON) for number in "12")
    assert not inbox.accept(*first).duplicate
    with servers.halted(next(port for port in servers.ports if port != servers.master())):
        for _ in range(2):  # a repeat, which the master knows already, is no better
            with pytest.raises(StoreUnavailable, match="too few of the store's replicas have it"):
                inbox.accept(*second)
        assert not store.is_away
        assert health.check().details["replicas"].startswith("1 of the 2 that store.replicas asks for have the latest")
    assert inbox.accept(*second).duplicate
    assert "replicas" not in health.check().details


def test_scripts_that_the_server_does_not_know_yet_are_waited_for_too(
    servers: Replicated, store: Store, app_id: str
) -> None:
    """The first answer to WAIT came before the script was sent whole."""
    inbox = RedisInbox(store, dedupe_ttl=DAY, cap=10, replicas=2)
    servers.server(servers.master()).script_flush()
    inbox.accept(*for_inbox(callback(app_id, sequence="1"), NOON))
    waits = store.call(lambda redis: redis.connection.port) and servers.server(servers.master()).info("commandstats")
    assert waits["cmdstat_wait"]["calls"] >= 2


def test_a_master_that_dies_is_replaced_and_the_calls_go_on_by_themselves(
    servers: Replicated, store: Store, app_id: str
) -> None:
    before = servers.master()
    inbox = RedisInbox(store, dedupe_ttl=DAY, cap=10, replicas=1)
    until_it_works(lambda: inbox.accept(*for_inbox(callback(app_id, sequence="1"), NOON)))

    async def scenario() -> Any:
        redis = async_redis(servers.url(), timeout_s=2.0)
        await redis.set("proxy:written", "before")
        await redis.wait(2, 1000)
        servers.kill_sentinel(servers.sentinel_ports[0])  # as where both ran on one machine
        servers.kill(before)
        while True:
            try:
                await ask(redis, [("PING",)])
                found = await redis.get("proxy:written")
            except RedisError:
                continue
            await redis.aclose()
            return found

    assert asyncio.run(scenario()) == b"before"
    assert until_it_works(lambda: inbox.accept(*for_inbox(callback(app_id, sequence="1"), NOON))).duplicate
    assert port_of(store) != before


def test_a_failover_by_command_is_heard_of_within_a_second(tmp_path: Path) -> None:
    """The old master takes writes for ten seconds more, and would take ours, which were lost."""
    with replicated(tmp_path) as servers:
        store = Store(servers.url())
        before = port_of(store)

        async def scenario(redis: Any) -> int:
            await ask(redis, [("PING",)])
            new = servers.failover()
            await redis.follow_master()
            store.follow_master()
            (found,) = await ask(redis, [("CONFIG", "GET", "port")])
            assert int(found[1]) == int((await redis.config_get("port"))["port"]) == new
            return new

        new = with_redis(servers.url("default"), scenario)
        assert port_of(store) == new != before


@pytest.mark.trial
@pytest.mark.parametrize("way", BEFORE_A_CALLBACKS_END)
def test_what_a_master_takes_that_is_none_any_more_and_does_not_know_it_is_not_done(
    servers: Replicated, app_id: str, way: str
) -> None:
    """The end of its callback would go to the new one, and be all that is left of it."""
    lane, master = apns_lane(app_id), servers.master()

    async def scenario(redis: Any) -> None:
        do = BEFORE_A_CALLBACKS_END[way]
        await do(redis, lane, "m0")  # it knows the script
        with servers.halted(master):
            doing = asyncio.ensure_future(do(redis, lane, "m1"))
            while servers.master() == master or not servers.replicas_of(servers.master()):
                await asyncio.sleep(0.05)
        with pytest.raises(RedisError):
            await doing

    with_redis(servers.url(), scenario)
    servers.wait(servers.is_well, "the former master as a replica")


@pytest.mark.trial
def test_what_a_master_registers_that_is_none_any_more_and_does_not_know_it_is_not_said_to_be_done(
    servers: Replicated, app_id: str
) -> None:
    """Its next step would go to the new one."""
    master = servers.master()
    devices = RedisDeviceRegistry(Store(servers.url(), timeout_s=20), {"main": app_id}, replicas=1)
    devices.register(device(account="ann"))
    with ThreadPoolExecutor(1) as threads:
        with servers.halted(master):
            doing = threads.submit(devices.register, device(push_token="c3d4"))
            while servers.master() == master or not servers.replicas_of(servers.master()):
                time.sleep(0.05)
        with pytest.raises(StoreUnavailable):
            doing.result()
    servers.wait(servers.is_well, "the former master as a replica")
    assert until_it_works(lambda: devices.register(device(push_token="c3d4")))
    assert [it.push_token for it in devices.devices_of("main", "ben")] == ["c3d4"]
