"""A store of several masters: who is asked, what a moving slot and a lost node cost, and whom."""

import asyncio
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from redis import Redis
from redis.exceptions import RedisError

from proxy.domain.callbacks import Receipt, conversation_digest
from proxy.domain.conversations import LockRelease
from proxy.domain.forwards import Copy, Forward
from proxy.domain.idempotency import Begun, Call, Running, call_of
from proxy.domain.lanes import Callbacks
from proxy.domain.limits import Admitted, Blocked, Budget
from proxy.domain.offline_messages import Letter
from proxy.domain.settlements import Entry, Finish, Renewed, SettleResult
from proxy.domain.webhooks import lane_of_webhook
from proxy.errors import StoreUnavailable
from proxy.local.ports import free_port
from proxy.spool.drain import Drain
from proxy.spool.folder import Spool
from proxy.spool.inbox import SpoolingInbox
from proxy.store import keys
from proxy.store.connection import Store, async_redis
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.store.queue.copying_inbox import CopyingInbox
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import dump_offline_message, load_forward
from proxy.store.reshard import Resharding, begin
from proxy.store.scripts import ask, ask_now, ask_strictly
from proxy.store.server.embedded import server_binary
from proxy.store.server.health import RedisHealth
from proxy.store.server.metrics import RedisMetrics
from proxy.store.slots import NodeAway
from proxy.store.troubles import is_one_nodes, is_the_stores_own
from proxy.store.users.admission import RedisAdmission
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.idempotency import RedisIdempotency
from tests.clusters import Clustered, clustered
from tests.sentinels import APP_PASSWORD, PASSWORD, until_true, with_children
from tests.store.samples import (
    DAY,
    MS,
    NO_WAIT,
    NOON,
    SECOND,
    alert,
    apns_lane,
    callback,
    device,
    for_inbox,
    job,
    mipush_lane,
    queue_of,
    with_redis,
)
from tests.store.stale_masters import BEFORE_A_CALLBACKS_END

pytestmark = pytest.mark.system
T = TypeVar("T")
BOTH_GET = ("EVAL", "return redis.call('MGET', KEYS[1], KEYS[2])", 2)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clustered]:
    with clustered(tmp_path_factory.mktemp("cluster")) as it:
        yield it


@pytest.fixture
def store(servers: Clustered) -> Store:
    return Store(servers.url())


def name_on(servers: Clustered, port: int, kind: str = "written") -> str:
    """A key that lies on that master."""
    names = (f"proxy:{{{number}}}:{kind}" for number in range(1000))
    return next(name for name in names if servers.owner(name) == port)


def names_on_each(servers: Clustered) -> list[str]:
    return [name_on(servers, port) for port in servers.masters()]


def until_it_works(do: Callable[[], T]) -> T:
    until = time.monotonic() + 20
    while True:
        try:
            return do()
        except (StoreUnavailable, RedisError):
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize("user", ["app", "default"])
def test_what_lies_on_several_nodes_is_answered_in_the_order_asked(servers: Clustered, user: str) -> None:
    names = names_on_each(servers)
    asked = [("GET", name) for name in (*names, *names[::-1])]
    found = [*map(str.encode, names), *map(str.encode, names[::-1])]
    store = Store(servers.url(user))
    store.call(lambda redis: ask_now(redis, [("SET", name, name) for name in names]))
    assert store.call(lambda redis: ask_now(redis, [("PING",), *asked])) == [b"PONG", *found]
    assert with_redis(servers.url(user), lambda redis: ask(redis, asked)) == found


def test_the_library_s_methods_reach_all_nodes_too(servers: Clustered, store: Store) -> None:
    names = [f"proxy:{{{number}}}:all" for number in range(20)]

    def in_threads(redis: Any) -> list[Any]:
        pipe = redis.pipeline(transaction=False)
        for name in names:
            pipe.hset(name, mapping={"a": 1})
        whole = redis.pipeline(transaction=True).hincrby(names[0], "a", 2).hmget(names[0], "a")
        return [pipe.execute(), whole.execute(), redis.hgetall(names[1]), sorted(redis.scan_iter(match="*:all"))]

    async def on_a_loop(redis: Any) -> list[Any]:
        pipe = redis.pipeline(transaction=False)
        for name in names:
            pipe.hset(name, mapping={"b": 1})
        whole = redis.pipeline(transaction=True).hincrby(names[0], "b", 2).hmget(names[0], "b")
        async with redis.lock("proxy:{team}:signing", timeout=5):  # by a script of the library's own
            locked = await redis.exists("proxy:{team}:signing")
        assert (locked, await redis.exists("proxy:{team}:signing")) == (1, 0)
        found = [name async for name in redis.scan_iter(match="*:all")]
        return [await pipe.execute(), await whole.execute(), await redis.hgetall(names[1]), sorted(found)]

    every = sorted(map(str.encode, names))
    assert store.call(in_threads) == [[1] * 20, [3, [b"3"]], {b"a": b"1"}, every]
    assert with_redis(servers.url(), on_a_loop) == [[1] * 20, [3, [b"3"]], {b"a": b"1", b"b": b"1"}, every]


def test_no_password_is_in_what_can_be_printed(servers: Clustered, store: Store) -> None:
    printed = [store.at, store.server_at(), store.call(repr)]
    with pytest.raises(StoreUnavailable) as refused:
        Store(servers.url().replace(APP_PASSWORD, "wrong")).call(lambda redis: redis.get("proxy:written"))
    printed += [f"{refused.value!r} {refused.value} {refused.value.at} {refused.getrepr()}"]
    assert not [secret for secret in (PASSWORD, APP_PASSWORD) if secret in " ".join(printed)]


def test_callbacks_are_waited_for_where_each_lies(servers: Clustered, store: Store, app_id: str) -> None:
    inbox, by_master = RedisInbox(store, dedupe_ttl=DAY, cap=1000, replicas=1), dict[int, Letter]()
    for sequence in range(100):
        letter = Letter(*for_inbox(callback(app_id, sequence=str(sequence)), NOON))
        by_master[servers.owner(store.layout.seen(app_id, letter.callback_id))] = letter
    letters = [by_master[master] for master in servers.masters()]
    assert [getattr(receipt, "duplicate", None) for receipt in inbox.accept_all(letters)] == [False] * 3
    with servers.halted(servers.replica_of(servers.masters()[0])):
        lacking, *others = inbox.accept_all(letters)
        assert "too few of the store's replicas have it" in str(lacking)
        assert others == [Receipt(duplicate=True)] * 2
        assert inbox.accept(letters[1].message, letters[1].callback_id).duplicate  # it lies on another node
    assert not store.is_away


def test_what_webhooks_get_lies_where_each_callback_does_and_is_written_in_one_step(store: Store, app_id: str) -> None:
    lane, letters = lane_of_webhook(app_id, "main", "crm"), list[Letter]()
    inbox = CopyingInbox(store, DAY, 1000, lanes=[lane], on_full=lambda _lane: pytest.fail("full"))
    for sequence in range(60):
        message, callback_id = for_inbox(callback(app_id, sequence=str(sequence)), NOON)
        forward = Forward(lane.app, lane.channel, callback_id, "OFFLINE_MSG", NOON + DAY, b"{}")
        letters.append(Letter(message, callback_id, (Copy(lane, forward, 1000),), is_planned=sequence % 2 == 0))
    assert inbox.accept_all(letters) == [Receipt(duplicate=False)] * 60
    assert inbox.accept_all(letters) == [Receipt(duplicate=True)] * 60
    layout = store.layout
    found = {
        shard: [load_forward(fields[b"r"]).id for _, fields in store.call(partial(xrange, layout.jobs(lane, shard)))]
        for shard in layout.all_shards
    }
    assert sorted(id_ for ids in found.values() for id_ in ids) == sorted(it.callback_id for it in letters)
    assert all(layout.shard_of_callback(id_) == shard for shard, ids in found.items() for id_ in ids)


def xrange(name: str, redis: Any) -> Any:
    return redis.xrange(name)


def test_a_caller_is_admitted_by_what_lies_on_several_nodes(servers: Clustered, store: Store, app_id: str) -> None:
    admission = RedisAdmission(store, lambda: NOON, app_ids={"main": app_id}, account_lanes=[mipush_lane(app_id)])
    budget = Budget("token_per_account", 2, 60_000, f"ann of {app_id}")
    assert admission.admit("ann", "a session", "main", budget) == Admitted()
    RedisBlocks(store).block_session("a session", DAY)
    assert admission.admit("ann", "a session", "main", budget) == Blocked()


def test_the_mark_of_a_call_is_waited_for_where_it_lies(servers: Clustered, store: Store, app_id: str) -> None:
    book, by_master = RedisIdempotency(store, replicas=1), dict[int, Call]()
    for number in range(50):
        call = call_of(f"{app_id}-{number}", "user ann", "PUT", "/", "main", b"")
        by_master[servers.owner(keys.idempotency(call.name))] = call
    for call in by_master.values():
        assert isinstance(book.begin(call, NOON, SECOND), Begun)
        assert book.begin(call, NOON, SECOND) == Running(1000)
    one = servers.masters()[0]
    new = replace(by_master[one], name=f"{{{keys.idempotency(by_master[one].name)}}}")
    halted = servers.halted(servers.replica_of(one))
    with halted, pytest.raises(StoreUnavailable, match="too few of the store's replicas have it"):
        book.begin(new, NOON, SECOND)
    assert isinstance(book.begin(new, NOON, SECOND), Begun)


def test_what_cannot_be_asked_is_unknown_and_the_rest_is_said_of_the_whole(
    servers: Clustered, store: Store, app_id: str
) -> None:
    lanes = [apns_lane(app_id)]
    health, rows = RedisHealth(store, lanes, lambda: NOON, replicas=2).check(), RedisMetrics(store, lanes, lambda: NOON)
    assert {name: health.details[name].split()[0] for name in ("store", "persistence", "eviction", "replicas")} == {
        "store": "writable", "persistence": "unknown:", "eviction": "unknown:", "replicas": "1",
    }  # fmt: skip
    servers.server(servers.masters()[1]).config_set("appendfsync", "everysec")
    admins = RedisHealth(Store(servers.url("default")), lanes, lambda: NOON, replicas=1).check().details
    servers.server(servers.masters()[1]).config_set("appendfsync", "always")
    assert admins["persistence"].startswith("at risk: appendfsync is everysec")
    assert not admins.keys() & {"replicas", "eviction"}
    assert rows.read()


def test_a_slot_on_its_way_is_served_by_either_node_and_costs_the_others_nothing(servers: Clustered) -> None:
    store = Store(servers.url(), timeout_s=0.3)
    source, target, _ = servers.masters()
    old, new, elsewhere = name_on(servers, source), name_on(servers, source, "new"), name_on(servers, target)
    store.call(lambda redis: ask_now(redis, [("SET", old, "here"), ("SET", elsewhere, "there")]))

    def under_way() -> None:
        """The new key is not at the source, and all of a script's keys must be at one node."""
        commands = [("GET", old), ("SET", new, "first"), ("GET", new), ("GET", elsewhere)]
        for found in (
            store.call(lambda redis: ask_now(redis, commands)),
            with_redis(servers.url(), lambda redis: ask(redis, commands)),
        ):
            assert found == [b"here", b"OK", b"first", b"there"]
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"TryAgain|AskError"):
            store.call(lambda redis: ask_now(redis, [(*BOTH_GET, old, new)]))
        assert time.monotonic() - started < 10
        with pytest.raises(StoreUnavailable, match="does not answer"):  # and the next caller waits for nothing
            store.call(lambda redis: ask_now(redis, [(*BOTH_GET, old, new)]))
        assert store.call(lambda redis: ask_now(redis, [("GET", elsewhere)])) == [b"there"]

    servers.migrate(old, target, under_way)
    asked = [(*BOTH_GET, old, new)]
    store = Store(servers.url())  # the other one asks for the slot once a second
    assert store.call(lambda redis: ask_now(redis, asked)) == [[b"here", b"first"]]
    assert with_redis(servers.url(), lambda redis: ask(redis, asked)) == [[b"here", b"first"]]
    servers.migrate(old, source)
    assert store.call(lambda redis: redis.get(old)) == b"here"


def test_a_slot_that_was_away_is_asked_again_whatever_number_of_commands_and_rounds_that_takes(
    servers: Clustered,
) -> None:
    """Each of them was let pass as the one that tries; so the second never was, and what lies there stayed away."""
    store = Store(servers.url(), timeout_s=0.3)
    source, target, _ = servers.masters()
    old, new = name_on(servers, source), name_on(servers, source, "later")
    store.call(lambda redis: redis.set(old, "here"))
    asked = [(*BOTH_GET, old, new), ("INCRBY", new, 0), ("WAIT", 1, 200)]

    def under_way() -> None:
        store.call(lambda redis: redis.get(old))
        with pytest.raises(StoreUnavailable, match=r"TryAgain|AskError"):
            store.call(lambda redis: ask_now(redis, asked[:1]))

    servers.migrate(old, target, under_way)
    assert until_it_works(lambda: store.call(lambda redis: ask_now(redis, asked))) == [[b"here", None], 0, 1]
    servers.migrate(old, source)


def test_what_tries_again_succeeds_as_soon_as_the_slot_has_come(servers: Clustered, store: Store) -> None:
    source, target, _ = servers.masters()
    old, new = name_on(servers, source), name_on(servers, source, "missing")
    store.call(lambda redis: redis.set(old, "here"))
    patient, answers = Store(servers.url(), timeout_s=20), list[Any]()

    async def on_a_loop() -> None:
        redis = async_redis(servers.url(), timeout_s=20)
        answers.append(await ask_strictly(redis, [(*BOTH_GET, old, new)]))
        await redis.aclose()

    def in_a_thread() -> None:
        answers.append(patient.call(lambda redis: ask_now(redis, [(*BOTH_GET, old, new)])))

    threads = [threading.Thread(target=in_a_thread), threading.Thread(target=lambda: asyncio.run(on_a_loop()))]

    def under_way() -> None:
        for thread in threads:
            thread.start()

    servers.migrate(old, target, under_way)
    for thread in threads:
        thread.join(30)
    assert answers == [[[b"here", None]]] * 2
    servers.migrate(old, source)


def test_a_failover_by_command_is_followed_without_an_error(servers: Clustered, store: Store) -> None:
    master = servers.masters()[0]
    name, over, numbers = name_on(servers, master), threading.Event(), list[int]()

    def count() -> None:
        while not over.is_set():
            numbers.append(store.call(lambda redis: redis.incr(f"{name}:count")))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        new = servers.failover(master)
        goal = len(numbers) + 10
        servers.wait(lambda: len(numbers) > goal, "more numbers")
    finally:
        over.set()
        thread.join(30)
    assert servers.owner(name) == new
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_master_that_dies_costs_the_others_callers_nothing_and_its_own_until_it_is_replaced(
    servers: Clustered,
) -> None:
    events = list[tuple[str, bool]]()
    store = Store(servers.url(), 0.2, on_change=lambda at, error: events.append((at.split()[0], bool(error))))
    dead, *_ = servers.masters()
    lost, *others = names_on_each(servers)

    async def scenario(redis: Any) -> Any:
        await ask(redis, [("SET", lost, "kept"), *(("SET", name, "kept") for name in others)])
        assert await ask(redis, [("INCR", f"{lost}:n"), ("WAIT", 1, 1000)]) == [1, 1]
        servers.kill(dead)
        with pytest.raises(StoreUnavailable):
            store.call(lambda redis: ask_now(redis, [("GET", lost)]))
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.call(lambda redis: ask_now(redis, [("GET", lost)]))
        assert store.call(lambda redis: ask_now(redis, [("GET", name) for name in others])) == [b"kept"] * 2
        assert await ask(redis, [("GET", name) for name in others]) == [b"kept"] * 2
        assert not store.is_away
        while True:
            try:
                return await ask_strictly(redis, [("GET", lost)])
            except RedisError:
                continue

    assert with_redis(servers.url(), scenario) == [b"kept"]
    assert until_it_works(lambda: store.call(lambda redis: redis.get(lost))) == b"kept"
    assert events == [(f"127.0.0.1:{dead}", True), (f"127.0.0.1:{dead}", False)]
    servers.start_server(dead)
    servers.wait(servers.is_well, "the cluster")


@pytest.mark.trial
def test_a_master_that_hangs_costs_one_caller_its_time_limit_and_the_others_nothing(servers: Clustered) -> None:
    store = Store(servers.url(), timeout_s=0.5)
    hung, *_ = servers.masters()
    lost, *others = names_on_each(servers)
    store.call(lambda redis: ask_now(redis, [("SET", name, "kept") for name in (lost, *others)]))
    store.call(lambda redis: ask_now(redis, [("INCR", f"{lost}:n"), ("WAIT", 1, 200)]))
    with servers.halted(hung):
        with pytest.raises(StoreUnavailable, match="did not answer"):
            store.call(lambda redis: redis.get(lost))
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.call(lambda redis: redis.get(lost))
        assert store.call(lambda redis: ask_now(redis, [("GET", name) for name in others])) == [b"kept"] * 2
        assert until_it_works(lambda: store.call(lambda redis: redis.get(lost))) == b"kept"
    servers.wait(servers.is_well, "the cluster")


def test_jobs_are_claimed_and_settled_where_they_lie(servers: Clustered, app_id: str) -> None:
    lanes = [apns_lane(app_id, "main"), apns_lane(app_id, "other")]

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        for lane in lanes:
            await queue.ensure_groups(lane)
        waiting = [asyncio.create_task(queue.claim(lane, 100, 5 * SECOND)) for lane in lanes]
        await asyncio.sleep(0.1)  # each shard is read for both
        for lane in lanes:
            jobs = [job(lane, f"user-{n}", of=alert(lane.app)) for n in range(100)]
            await queue.append_planned(list(queue.chunks(app_id, lane.app, [(lane, one) for one in jobs], 50)), NOON)
        for lane, first in zip(lanes, waiting, strict=True):
            entries = (await first).entries
            assert entries
            while len(entries) < 100:
                entries += (await queue.claim(lane, 100, SECOND)).entries
            assert len({it.id for it in entries}) == 100
            assert (await queue.renew(lane, [it.id for it in entries])).lost == []
            assert await queue.settle_jobs(lane, [Finish(it.id) for it in entries]) == SettleResult()
        assert await queue.lengths(lanes) == [0, 0]
        assert (await queue.claim(lanes[0], 100, NO_WAIT)).entries == []
        await queue.reads_ended()

    with_redis(servers.url(), scenario)


def test_all_shards_are_waited_for_at_once_and_what_one_brings_ends_the_wait(servers: Clustered, app_id: str) -> None:
    """A read is never given up, for it may have claimed something: what it brings later is found by the next claim."""
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(lane)
        streams = queue.streams(lane)

        async def put(places: Sequence[int]) -> None:
            await ask_strictly(redis, [("XADD", streams[place], "*", "r", f"{place}") for place in places])

        async def claimed(count: int) -> list[bytes]:
            found = list[bytes]()
            while len(found) < count:
                entries = (await queue.claim(lane, 100, SECOND)).entries
                found += [entry.record for entry in entries]
                assert (await queue.renew(lane, [entry.id for entry in entries])).lost == []
            return sorted(found)

        assert (await queue.claim(lane, 100, 10 * MS)).entries == []
        later = asyncio.create_task(claimed(1))
        await put([3])
        assert await later == [b"3"]
        await put([0, 7, 15])
        await asyncio.sleep(0.05)  # the standing reads have brought them, and nobody asked
        assert await claimed(3) == [b"0", b"15", b"7"]
        assert len(streams) == 16
        await queue.reads_ended()

    with_redis(servers.url(), scenario)


def test_the_locks_of_conversations_in_several_shards_are_released_together(servers: Clustered, app_id: str) -> None:
    lane, names = mipush_lane(app_id), [conversation_digest(f"p2p:{number}") for number in range(20)]

    async def scenario(redis: Any) -> None:
        locks = RedisConversationLocks(redis, "worker-1")
        assert all(state and state.is_free for state in await locks.acquire(lane, names, DAY))
        await locks.release(lane, [LockRelease(name) for name in names], DAY)
        assert all(state and state.is_free for state in await locks.acquire(lane, names, DAY))

    with_redis(servers.url(), scenario)


def test_what_was_planned_is_waited_for_at_each_node_and_only_its_own_is_in_doubt(
    servers: Clustered, app_id: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = RedisQueue(redis, "w", lease=DAY, dedupe_ttl=DAY, jobs_cap=1000, dead_cap=10, replicas=1)
        chunks = list(queue.chunks(app_id, "m1", [(lane, job(lane, f"user-{n}")) for n in range(100)], 50))
        results, _ = await queue.append_planned(chunks, NOON)
        assert [it.error for it in results] == [None] * len(chunks)
        slow = servers.masters()[0]
        with servers.halted(servers.replica_of(slow)):
            results, _ = await queue.append_planned(chunks, NOON)  # known by now, which its replicas need not have
        for chunk, result in zip(chunks, results, strict=True):
            shard = redis.layout.shard_of_account(chunk.jobs[0][1].account)
            is_slow = servers.owner(redis.layout.writes(app_id, shard)) == slow
            assert str(result.error or "") == ("too few of the store's replicas have it" if is_slow else "")

    with_redis(servers.url(), scenario)


@pytest.mark.trial
@pytest.mark.parametrize("way", BEFORE_A_CALLBACKS_END)
def test_what_a_master_takes_that_is_none_any_more_and_does_not_know_it_is_not_done(
    servers: Clustered, app_id: str, way: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        name = redis.layout.writes(app_id, redis.layout.shard_of_account("ben"))
        master = servers.owner(name)
        do = BEFORE_A_CALLBACKS_END[way]
        await do(redis, lane, "m0")  # it knows the script
        with servers.halted(master):
            doing = asyncio.ensure_future(do(redis, lane, "m1"))
            while servers.owner(name) == master:
                await asyncio.sleep(0.05)
        with pytest.raises(RedisError):
            await doing

    with_redis(servers.url(), scenario)
    servers.wait(servers.is_well, "the former master as a replica")


def test_a_push_token_moves_only_where_the_replicas_have_it(servers: Clustered, store: Store, app_id: str) -> None:
    """Else the node of the token's shard could forget the move, and that of the former owner's list not."""
    devices = RedisDeviceRegistry(store, {"main": app_id}, replicas=1)
    phones = [device(push_token=f"{number}") for number in range(100)]
    layout = store.layout
    key = {servers.owner(layout.push_token(app_id, "main", "apns", it.push_token)): it for it in phones}
    lost = servers.masters()[0]
    devices.register(key[lost])
    with servers.halted(servers.replica_of(lost)), pytest.raises(StoreUnavailable, match="too few of the store's"):
        devices.register(replace(key[lost], account="cai", registered_at=NOON + SECOND))
    assert devices.register(replace(key[lost], account="cai", registered_at=NOON + SECOND))
    assert [it.account for it in devices.devices_of("main", "cai")] == ["cai"]
    assert devices.devices_of("main", "ben") == []


@pytest.mark.trial
def test_a_node_that_is_away_hides_nothing_of_the_others_shards(servers: Clustered, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(lane)
        away = servers.masters()[0]
        here = next(stream for stream in queue.streams(lane) if servers.owner(stream) != away)
        await queue.claim(lane, 100, 10 * MS)
        servers.kill(away)
        await ask_strictly(redis, [("XADD", here, "*", "r", "found")])
        found = list[bytes]()
        while not found:
            with suppress(RedisError):
                entries = (await queue.claim(lane, 100, SECOND)).entries
                found += [entry.record for entry in entries]
        assert found == [b"found"]
        servers.start_server(away)
        await queue.reads_ended()

    with_redis(servers.url(), scenario)
    servers.wait(servers.is_well, "the cluster")


@pytest.fixture(scope="module")
def unreplicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clustered]:
    """Nobody takes the place of a master that is away."""
    with clustered(tmp_path_factory.mktemp("unreplicated"), replicas=0) as it:
        yield it


def test_what_lies_on_nodes_that_answer_goes_on_and_the_rest_is_asked_for_again(
    unreplicated: Clustered, app_id: str
) -> None:
    servers, lane = unreplicated, apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(lane)
        away = servers.masters()[0]
        lost = {shard for shard, stream in enumerate(queue.streams(lane)) if servers.owner(stream) == away}
        jobs = [(lane, job(lane, f"user-{n}")) for n in range(100)]
        chunks = list(queue.chunks(app_id, "m1", jobs, 50))
        shards = [queue.layout.shard_of_account(chunk.jobs[0][1].account) for chunk in chunks]
        await queue.append_planned(chunks, NOON)
        entries = list[Entry]()
        while len(entries) < 100:
            entries += (await queue.claim(lane, 200, SECOND)).entries
        held = {entry.id for entry in entries if int(entry.id.partition(b"/")[2]) in lost}
        assert 0 < len(held) < 100
        with servers.halted(away):
            results, _ = await queue.append_planned(list(queue.chunks(app_id, "m2", jobs, 50)), NOON)
            assert {shard for shard, it in zip(shards, results, strict=True) if is_one_nodes(it.error)} == lost
            assert await queue.renew(lane, [entry.id for entry in entries]) == Renewed(unknown=sorted_as(entries, held))
            assert await queue.take_over(lane, 100, suspect=True) == []
            assert await queue.abandoned([lane]) == []
            assert not (await queue.move_due([lane], [app_id], NOON, 100)).errors
            locks, names = RedisConversationLocks(redis, "worker-1"), [f"{number:032x}" for number in range(50)]
            states = await locks.acquire(lane, names, DAY)
            hidden = [name for name in names if queue.layout.shard_of_digest(name) in lost]
            assert [name for name, state in zip(names, states, strict=True) if state is None] == hidden
            assert {it.conversation for it in await locks.release(lane, list(map(LockRelease, names)), DAY)} == {
                *hidden
            }
            result = await queue.settle_jobs(lane, [Finish(entry.id) for entry in entries])
            assert (result.foreign, result.failed, {*result.away}) == ([], [], held)
        servers.wait(servers.is_well, "the cluster")
        with suppress(RedisError):  # whoever is the first to ask it again
            await queue.lengths([lane])
        result = await queue.settle_jobs(lane, [Finish(id_) for id_ in held])
        assert not {*result.away, *result.failed}

    with_redis(servers.url(), scenario)


def test_callbacks_that_lie_on_nodes_that_answer_are_taken_and_drained(
    unreplicated: Clustered, app_id: str, tmp_path: Path
) -> None:
    servers, store = unreplicated, Store(unreplicated.url(), timeout_s=0.5)
    away, spool = servers.masters()[0], Spool(tmp_path, max_bytes=1 << 20, max_age=DAY)
    inbox = RedisInbox(store, DAY, 1000)
    letters = [Letter(*for_inbox(callback(app_id, sequence=str(n)), NOON)) for n in range(100)]
    lost = [it for it in letters if servers.owner(store.layout.seen(app_id, it.callback_id)) == away]
    taking = SpoolingInbox(inbox, store, spool, lambda: True)
    drain = Drain(spool, inbox, DAY, lambda: NOON, timedelta)
    with servers.halted(away):
        receipts = taking.accept_all(letters)
        spooled = [it for it, receipt in zip(letters, receipts, strict=True) if receipt == Receipt(False, spooled=True)]
        assert [letters.index(it) for it in spooled] == [letters.index(it) for it in lost], receipts
        assert not [receipt for receipt in receipts if isinstance(receipt, StoreUnavailable)]
        for letter in letters:
            spool.keep(letter.callback_id, dump_offline_message(letter.message), NOON)
        (drained,) = drain.run()
        assert (drained.accepted + drained.duplicates, drained.left) == (100 - len(lost), 2 * len(lost))
    servers.wait(servers.is_well, "the cluster")
    until_it_works(lambda: store.call(lambda redis: redis.get(store.layout.seen(app_id, lost[0].callback_id))))
    (drained,) = drain.run()
    assert (drained.accepted, drained.duplicates, drained.left) == (len(lost), len(lost), 0)


def sorted_as(entries: Sequence[Entry], ids: set[bytes]) -> list[bytes]:
    """In the order of renewals: shard by shard, as the first of each stands."""
    by_shard: dict[bytes, list[bytes]] = {}
    for entry in entries:
        by_shard.setdefault(entry.id.partition(b"/")[2], []).append(entry.id)
    return [id_ for some in by_shard.values() for id_ in some if id_ in ids]


class Node:
    """Says that it has all slots, and then the same to every command. `other`: a port that has the second half."""

    def __init__(self, answer: bytes, other: int | None = None) -> None:
        self._answer, self._other = answer, other

    def slots(self, own: int) -> bytes:
        def part(first: int, last: int, port: int) -> bytes:
            return b"*3\r\n:%d\r\n:%d\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % (first, last, port)

        if self._other is None:
            return b"*1\r\n" + part(0, 16383, own)
        return b"*2\r\n" + part(0, 8191, own) + part(8192, 16383, self._other)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL."""
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while head := self.rfile.readline():
                    words = [self.rfile.readline() for _ in range(2 * int(head[1:]))][1::2]  # each after its length
                    slots = outer.slots(self.connection.getsockname()[1])
                    self.wfile.write(slots if words[0] == b"CLUSTER\r\n" else outer._answer + b"\r\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"redis+cluster://127.0.0.1:{server.server_address[1]}/"
            finally:
                server.shutdown()
                thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"-CLUSTERDOWN The cluster is down", b"-LOADING the dataset in memory", b"-TRYAGAIN Multiple keys request",
        b"-MASTERDOWN Link with MASTER is down", b"-READONLY You can't write against a read only replica.",
        b"-MOVED 12182 127.0.0.1:1", b"-ASK 12182 127.0.0.1:1", b"-ERR unknown",
    ],
    ids=lambda answer: answer.split()[0].decode(),
)  # fmt: skip
def test_what_stays_wrong_is_said_when_time_is_up(answer: bytes) -> None:
    with Node(answer).serving() as url:
        store, started = Store(url, timeout_s=0.05), time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.call(lambda redis: redis.set("foo", "x"))
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.call(lambda redis: redis.set("foo", "x"))
        assert time.monotonic() - started < 5

        async def scenario() -> None:
            redis = async_redis(url, timeout_s=0.05)
            try:
                (found,) = await ask(redis, [("SET", "foo", "x")])
            except RedisError as error:
                found = error
            assert isinstance(found, RedisError)
            assert is_the_stores_own(found) or answer.startswith(b"-ERR")
            await redis.aclose()

        asyncio.run(scenario())


@pytest.mark.parametrize("is_silent", [False, True], ids=["it refuses connections", "it is silent"])
def test_a_node_that_is_away_holds_up_no_other_and_is_asked_by_one_a_second(is_silent: bool) -> None:
    here, there = ("GET", "bar"), ("GET", "foo")  # slots 5061 and 12182
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Node(b"+well", other=port if is_silent else 1).serving() as url:

            async def scenario() -> None:
                redis, clock = async_redis(url, timeout_s=30.0), asyncio.get_running_loop().time
                started = clock()
                for _ in range(20):
                    found = await ask(redis, [here, there, here])
                    assert (found[0], found[2], is_one_nodes(found[1])) == (b"well", b"well", True)
                    assert await ask(redis, [here]) == [b"well"]
                    with pytest.raises(NodeAway):
                        await ask(redis, [there])
                assert clock() - started < 15  # not once 30, nor 20 times what it takes to find out
                await redis.aclose()

            asyncio.run(scenario())


def test_a_cluster_is_found_by_any_of_its_nodes_that_is_there() -> None:
    with Node(b"+").serving() as url:
        first = url.removeprefix("redis+cluster://").strip("/")
        store = Store(f"redis+cluster://127.0.0.1:1,{first}/", timeout_s=0.5)  # the first to be asked is not there
        assert store.call(lambda redis: redis.get("foo")) == b""
    away = Store("redis+cluster://127.0.0.1:1/", timeout_s=0.2)
    with pytest.raises(StoreUnavailable, match="NoClusterNode"):
        away.call(lambda redis: redis.get("foo"))
    assert away.is_away


def test_a_server_that_is_no_node_of_a_cluster_is_said_at_once(tmp_path: Path) -> None:
    with with_children(tmp_path) as start:
        port = free_port()
        start("server", [str(server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)])
        until_true(Redis(port=port).ping, "the server")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="NoClusterNode"):
            Store(f"redis+cluster://127.0.0.1:{port}/", timeout_s=30).call(lambda redis: redis.get("foo"))
        assert time.monotonic() - started < 15


def test_where_a_slot_has_moved_says_its_former_node_and_not_one_that_has_not_heard_of_it() -> None:
    """Else each try would begin with the same old map, until time is up."""
    with Node(b"+new").serving() as new:
        port = new.rsplit(":", 1)[1].strip("/")
        with Node(f"-MOVED 12182 127.0.0.1:{port}".encode()).serving() as old:
            store = Store(old, timeout_s=2.0)
            assert store.call(lambda redis: redis.get("foo")) == b"new"

            async def scenario() -> None:
                redis = async_redis(old, timeout_s=2.0)
                assert await ask(redis, [("GET", "foo")]) == [b"new"]
                await redis.aclose()

            asyncio.run(scenario())


def test_a_cluster_is_moved_to_other_shards_with_what_waits_in_it(servers: Clustered, app_id: str) -> None:
    """As a user without an admin's rights, and each key has a replica before it is deleted where it was."""
    source, phone, one = Callbacks(app_id), device(), callback(app_id)
    for shards in (16, 4, 16):
        store = Store(servers.url(), timeout_s=5.0)
        inbox, devices = RedisInbox(store, DAY, 100), RedisDeviceRegistry(store, {"main": app_id})
        if devices.devices_of("main", "ben"):
            assert Resharding(store, begin(store, shards), DAY, NOON, replicas=1).run().entries >= 1
            store = Store(servers.url(), timeout_s=5.0)
            inbox, devices = RedisInbox(store, DAY, 100), RedisDeviceRegistry(store, {"main": app_id})
        else:
            devices.register(phone)
            assert not inbox.accept(*for_inbox(one, NOON)).duplicate
        assert store.layout.shards == shards
        assert devices.devices_of("main", "ben") == [phone]
        assert inbox.accept(*for_inbox(one, NOON)).duplicate
        assert with_redis(servers.url(), lambda redis: queue_of(redis).length(source)) == 1
