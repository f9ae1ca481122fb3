"""How the web's calls fare when the store is away, hangs, or has come back as another process."""

import asyncio
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from proxy.domain.settlements import PlanChunk
from proxy.errors import StoreUnavailable
from proxy.store.connection import Store, address_of, async_redis
from proxy.store.queue.inbox import RedisInbox
from proxy.store.round_trips import waited_for
from proxy.store.scripts import ask
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.store.troubles import is_the_stores_own
from tests.store.samples import DAY, NOON, apns_lane, callback, for_inbox, job, queue_of, with_redis


@dataclass
class Clock:
    """The real one, which can be put forward."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@dataclass
class Asked:
    """Counts how often the store was really asked."""

    times: list[float] = field(default_factory=list)

    def __call__(self, redis: Any) -> bool:
        self.times.append(time.monotonic())
        return bool(redis.ping())


def refused(call: Callable[[], object]) -> float:
    """How long the refusal took, in seconds."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        call()
    return time.monotonic() - started


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder, in which no server runs at the end."""
    with tempfile.TemporaryDirectory(prefix="store-", dir="/tmp") as place:
        yield Path(place)
        stop_store(Path(place))


@pytest.fixture
def stopped(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A server that was stopped like a hung one, and a way to let it go on."""
    url = ensure_store(folder)
    with Redis.from_url(url) as redis:
        pid = int(redis.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    yield url, lambda: os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)


def test_a_store_that_is_not_there_is_tried_once_a_second_and_the_others_are_told_at_once() -> None:
    clock, asked = Clock(), Asked()
    store = Store("unix:///nonexistent/socket", clock=clock)
    refused(lambda: store.call(asked))
    tries = len(asked.times)
    for _ in range(5):
        refused(lambda: store.call(asked))
    assert len(asked.times) == tries
    clock.ahead_s += 1.0
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: refused(lambda: store.call(asked)), range(8)))
    assert len(asked.times) == 2 * tries  # one of the eight


@pytest.mark.one_server
def test_a_store_is_known_to_be_away_from_a_failure_until_it_answers_or_nobody_asks(store_url: str) -> None:
    clock = Clock()
    store = Store(store_url, clock=clock)
    assert not store.is_away
    with pytest.raises(StoreUnavailable):
        store.call(lambda redis: redis.execute_command("NO SUCH COMMAND"))
    assert store.is_away
    assert not store.answers()  # it is not asked yet
    clock.ahead_s += 1.0
    assert store.is_away
    clock.ahead_s += 2.0
    assert not store.is_away
    assert store.answers()
    assert not store.is_away


def test_what_the_caller_is_told_names_no_address() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Store("redis://:hidden@127.0.0.1:1/0").call(lambda redis: redis.ping())
    assert str(caught.value) == "the store did not answer: ConnectionError"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "at"),
    [
        ("redis://:hidden@127.0.0.1:1/0", "127.0.0.1:1"),
        ("rediss://user:hidden@cache.example.com/2?ssl_cert_reqs=none", "cache.example.com:6379"),
        ("redis://[::1]:6380", "[::1]:6380"),
        ("unix://:hidden@/run/store/socket?db=1", "/run/store/socket"),
        ("redis://", "localhost:6379"),
        ("redis+sentinel://user:hidden@one,[::1]:2/m/0?sentinel_password=hidden", "the master m of one:26379, ::1:2"),
        ("rediss+cluster://user:hidden@one,two:7000/", "the cluster of one:6379, two:7000"),
    ],
)
def test_a_store_s_address_has_no_name_and_no_password(url: str, at: str) -> None:
    assert address_of(url) == at


@pytest.mark.one_server
def test_a_store_that_begins_to_fail_is_said_once_and_once_that_it_answers_again(store_url: str) -> None:
    clock, said = Clock(), list[tuple[str, str]]()
    store = Store(store_url, clock=clock, on_change=lambda *news: said.append(news))
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as caught:
            store.call(lambda redis: redis.execute_command("NO SUCH COMMAND"))
        clock.ahead_s += 1.0
    for _ in range(3):
        store.call(lambda redis: redis.ping())
    at = address_of(store_url)
    assert (caught.value.at, said) == (at, [(at, "ResponseError"), (at, "")])


def test_an_answer_is_an_answer_again_after_one_good_probe(store_url: str) -> None:
    clock, asked = Clock(), Asked()
    store = Store(store_url, clock=clock)
    with pytest.raises(StoreUnavailable):
        store.call(lambda redis: redis.execute_command("NO SUCH COMMAND"))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.call(asked)
    clock.ahead_s += 1.0
    assert [store.call(asked) for _ in range(3)] == [True] * 3


def test_who_comes_while_the_probe_is_out_is_served_too_if_the_store_is_well_again(store_url: str) -> None:
    clock = Clock()
    store = Store(store_url, clock=clock)
    with pytest.raises(StoreUnavailable):
        store.call(lambda redis: redis.execute_command("NO SUCH COMMAND"))
    clock.ahead_s += 1.0
    begin = threading.Barrier(8)

    def call(_: int) -> bool:
        begin.wait(5)
        return bool(store.call(lambda redis: redis.ping()))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == [True] * 8


def test_each_thread_has_a_connection_of_its_own(store_url: str) -> None:
    store = Store(store_url)

    all_there = threading.Barrier(4)

    def identity(_: int) -> tuple[int, int]:
        all_there.wait(timeout=10)
        ids = [store.call(lambda redis: redis.client_id()) for _ in range(3)]
        return len(set(ids)), ids[0]

    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(identity, range(4)))
    assert [count for count, _ in seen] == [1] * 4
    assert len({id_ for _, id_ in seen}) == 4


@pytest.mark.system
def test_a_hung_store_costs_one_caller_about_a_second_and_the_others_nothing(
    stopped: tuple[str, Callable[[], None]],
) -> None:
    url, go_on = stopped
    clock = Clock()
    store = Store(url, clock=clock)
    assert refused(lambda: store.call(lambda redis: redis.ping())) > 0.3
    with pytest.raises(StoreUnavailable, match="does not answer"):  # without being asked
        store.call(lambda redis: redis.ping())
    go_on()
    clock.ahead_s += 1.0
    assert store.call(lambda redis: redis.ping())


@pytest.mark.system
def test_a_restarted_store_is_used_again_without_an_error_to_the_caller(folder: Path, app_id: str) -> None:
    store = Store(ensure_store(folder))
    inbox = RedisInbox(store, dedupe_ttl=DAY, cap=10)
    inbox.accept(*for_inbox(callback(app_id, sequence="1"), NOON))
    with Redis.from_url(ensure_store(folder)) as redis:
        pid = int(redis.info("server")["process_id"])
    os.kill(pid, signal.SIGKILL)
    ensure_store(folder)  # with its data, and without our script; our kept connection is dead
    assert inbox.accept(*for_inbox(callback(app_id, sequence="1"), NOON)).duplicate
    assert not inbox.accept(*for_inbox(callback(app_id, sequence="2"), NOON)).duplicate


@pytest.mark.system
def test_a_store_that_went_away_under_a_kept_connection_is_said_to_be_away_at_once(folder: Path) -> None:
    clock = Clock()
    store = Store(ensure_store(folder), clock=clock)
    assert store.call(lambda redis: redis.ping())
    stop_store(folder)
    refused(lambda: store.call(lambda redis: redis.ping()))
    ensure_store(folder)
    with pytest.raises(StoreUnavailable):  # not yet: one probe a second
        store.call(lambda redis: redis.ping())
    clock.ahead_s += 1.0
    assert store.call(lambda redis: redis.ping())


@pytest.mark.system
def test_a_full_or_read_only_store_is_told_from_a_question_that_it_cannot_answer(folder: Path, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def fault_of(asked: Awaitable[object]) -> bool:
        with pytest.raises(RedisError) as caught:
            await asked
        return is_the_stores_own(caught.value)

    async def scenario(redis: Any) -> None:
        async def plan() -> None:
            chunk = PlanChunk(app_id, "m1", [(lane, job(lane))])
            (result,), _ = await queue_of(redis).append_planned([chunk], NOON)
            raise result.error or AssertionError("it was appended")

        await redis.set("text", "no hash")
        assert not await fault_of(redis.hgetall("text"))
        await redis.config_set("maxmemory", 1)
        assert await fault_of(redis.set("text", "more"))
        assert await fault_of(plan())
        await redis.config_set("maxmemory", 0)
        await redis.config_set("min-replicas-to-write", 1)
        assert await fault_of(redis.set("text", "more"))
        assert await fault_of(plan())
        await redis.config_set("min-replicas-to-write", 0)
        await redis.replicaof("127.0.0.1", "1")
        assert await fault_of(redis.set("text", "more"))
        assert await fault_of(plan())

    with_redis(ensure_store(folder), scenario)


@pytest.mark.system
def test_a_server_that_became_a_replica_is_left_for_a_new_connection(folder: Path) -> None:
    """After a failover the address leads to another server; a kept connection would stay with this one."""
    url = ensure_store(folder)
    clock = Clock()
    store = Store(url, clock=clock)

    async def scenario(redis: Any) -> tuple[int, int]:
        async def connection_id() -> int:
            (found,) = await ask(redis, [("CLIENT", "ID")])
            return int(found)

        before = await connection_id()
        (refused,) = await ask(redis, [("SET", "text", "more")])
        assert is_the_stores_own(refused)
        return before, await connection_id()

    before = store.call(lambda redis: redis.client_id())
    store.call(lambda redis: redis.replicaof("127.0.0.1", 1))
    with pytest.raises(StoreUnavailable):
        store.call(lambda redis: redis.set("text", "more"))
    clock.ahead_s += 1.1
    assert store.call(lambda redis: redis.client_id()) != before
    first, second = with_redis(url, scenario)
    assert first != second


@pytest.mark.system
def test_a_store_that_hears_and_says_nothing_is_given_up_also_before_the_password_is_taken() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            redis = async_redis(f"redis://:secret@127.0.0.1:{silent.getsockname()[1]}/1", timeout_s=0.2)
            async with asyncio.timeout(20):
                with pytest.raises(RedisTimeoutError):
                    await redis.round_trips.ask([("PING",)])
            await redis.aclose()

    asyncio.run(scenario())


def test_an_answer_that_came_while_this_process_did_not_run_is_read_and_not_thrown_away(store_url: str) -> None:
    async def scenario() -> list[Any]:
        redis = async_redis(store_url, timeout_s=0.2)
        await ask(redis, [("PING",)])
        asked = asyncio.create_task(ask(redis, [("PING",)]))
        await asyncio.sleep(0)  # it is asked now
        time.sleep(0.6)  # no processor time
        answers = await asked
        await redis.aclose()
        return answers

    assert asyncio.run(scenario()) == [b"PONG"]


async def read_in_two_turns(here: socket.socket) -> None:
    """Of the loop, as where a connection is made first."""
    await asyncio.get_running_loop().sock_recv(here, 1)
    await asyncio.sleep(0)


def test_what_came_while_this_process_stood_still_is_no_silence() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        mine, theirs = socket.socketpair()
        with mine, theirs:
            mine.setblocking(False)
            answer = asyncio.ensure_future(read_in_two_turns(mine))
            loop.call_later(0.01, theirs.send, b"1")
            loop.call_later(0.01, time.sleep, 0.6)
            assert await waited_for([answer], 0.05) == set()
            silent = asyncio.ensure_future(read_in_two_turns(mine))
            assert await waited_for([silent, answer], 0.05) == {silent}
            silent.cancel()

    asyncio.run(scenario())
