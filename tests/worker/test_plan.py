"""Plan on a real store: every target once, however often, by however many, and however far it came."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from proxy.channels.apns.wire import ApnsWire
from proxy.channels.mipush.wire import MipushWire
from proxy.domain.callbacks import Callback, Kind, Recipient
from proxy.domain.devices import ApnsEnvironment, Platform
from proxy.domain.jobs import Job, Push
from proxy.domain.lanes import Callbacks, Lane, Route
from proxy.domain.messages import DEFAULT_READING
from proxy.domain.offline_messages import offline_message
from proxy.domain.preferences import Mute, Preferences
from proxy.domain.previews import Preview
from proxy.domain.settlements import ChunkResult, Finish, PlanChunk
from proxy.profiles.lookup import ProfileLookup
from proxy.store import keys
from proxy.store.connection import Store, async_redis
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.folds import Folding
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.streams import RedisQueue
from proxy.store.queue.withdrawals import RedisWithdrawals
from proxy.store.records import load_job, load_offline_message
from proxy.store.scripts import Command
from proxy.store.slots import NodeAway
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from proxy.store.users.presence import RedisPresence
from proxy.usecases.accept_callback import Acceptance, acceptance_of, judge_callback
from proxy.usecases.plan_alerts import PlanResult
from proxy.worker.consumer import StreamConsumer
from proxy.worker.handover import HandOver
from proxy.worker.leases import Leases
from proxy.worker.observer import RelayObserver
from proxy.worker.plan import JOBS_PER_CHUNK, READERS_TOGETHER, PlanWorker
from proxy.worker.withdrawals import PlanWithdrawals
from tests.channels.pushes import apns_settings, mipush_settings
from tests.store.samples import (
    DAY,
    LAYOUT,
    MS,
    NO_WAIT,
    NOON,
    SECOND,
    all_that_is_stored,
    apns_lane,
    callback,
    device,
    job,
    marks_of,
    mipush_lane,
    new_of,
    put_jobs,
    with_redis,
)
from tests.worker.round_trips import counted_round_trips

SHORT_LEASE_S = 0.005  # longer than the store's, so that a take-over needs no waiting


class Faulty(RedisQueue):
    """Appends what was planned, unless `fault` says how it fails, from call number `from_call` on."""

    fault: Exception | None = None
    from_call = 0
    away: Sequence[str] = ()  # accounts whose node of a cluster gives no answer
    held: "asyncio.Event | None" = None  # what several callbacks led to waits for it

    def __init__(
        self, redis: Any, instance: str, jobs_cap: int, *, counts_unread: bool = False, folding: Folding | None = None
    ) -> None:
        super().__init__(
            redis, instance, lease=MS, dedupe_ttl=DAY, jobs_cap=jobs_cap, dead_cap=100,
            counts_unread=counts_unread, folding=folding,
        )  # fmt: skip
        self.sizes: list[int] = []  # of the chunks
        self.together: list[int] = []  # jobs of the chunks that came in one call

    async def append_planned(
        self,
        chunks: Sequence[PlanChunk],
        now: datetime,
        rooms: Mapping[Lane, int] = MappingProxyType({}),
        then: Sequence[Command] = (),
        behind: Mapping[Lane, Collection[int]] = MappingProxyType({}),
    ) -> tuple[list[ChunkResult], list[Any]]:
        if self.fault is not None and len(self.sizes) >= self.from_call:
            raise self.fault
        if any(one.account in self.away for chunk in chunks for _, one in chunk.jobs):
            raise NodeAway
        if self.held is not None and len(chunks) > 1:
            await self.held.wait()
        self.sizes += [len(chunk.jobs) for chunk in chunks]
        self.together.append(sum(len(chunk.jobs) for chunk in chunks))
        return await super().append_planned(chunks, now, rooms, then, behind)


class Instance:
    """One worker instance's plan."""

    def __init__(self, relay: "Relay", name: str, redis: Any, lanes: Sequence[Lane]) -> None:
        self.queue = Faulty(redis, name, relay.jobs_cap, counts_unread=relay.counts, folding=relay.folding)
        addresses = RedisAddresses(redis, {"main": relay.app_id}, name, with_presence=relay.with_presence)
        observer = RelayObserver(relay.app_id)
        self.consumer = StreamConsumer(
            Callbacks(relay.app_id),
            self.queue,
            Leases(15.0),
            lambda settlements: self.queue.settle_callbacks(relay.app_id, settlements, relay.now),
            observer,
            in_flight=128,
            block=NO_WAIT,
            for_floods=64,
        )
        routes = [Route(lane, to_account=lane.channel == "mipush", preview=relay.preview) for lane in lanes]
        self.worker = PlanWorker(
            relay.app_id,
            self.consumer,
            routes,
            addresses,
            HandOver(self.queue, addresses, [], time.monotonic),
            observer,
            alert_ttl=DAY,
            now=lambda: relay.now,
            reading=relay.reading,
            withdrawals=self._withdrawals(relay, addresses, redis, routes) if relay.withdraws or relay.counts else None,
            profiles=relay.profiles,
        )

    def _withdrawals(
        self, relay: "Relay", addresses: RedisAddresses, redis: Any, routes: list[Route]
    ) -> PlanWithdrawals:
        folds = relay.folding is not None
        kept = RedisWithdrawals(redis, ttl=DAY, jobs_cap=relay.jobs_cap, folds=folds)
        return PlanWithdrawals(
            relay.app_id, kept, addresses, self.queue, routes, alert_ttl=DAY, now=lambda: relay.now,
            withdraws=relay.withdraws, counts=relay.counts,
        )  # fmt: skip

    async def turn(self) -> None:
        """One claim, to its end."""
        await self.worker.claim()
        await self.worker.drained()
        assert self.consumer.in_flight.used == 0

    async def take_over(self) -> None:
        await asyncio.sleep(SHORT_LEASE_S)
        await self.worker.take_over()
        await self.worker.drained()


class Relay:
    """An app's intake and plan, with a lane to each iPhone and a lane to Mi Push accounts."""

    jobs_cap = 50_000
    with_presence = False
    withdraws = counts = False
    folding: Folding | None = None
    preview = Preview.FULL
    reading = DEFAULT_READING
    profiles: ProfileLookup | None = None

    def __init__(self, redis: Any, store: Store, app_id: str, store_url: str) -> None:
        self.redis, self.store, self.app_id, self.store_url = redis, store, app_id, store_url
        self.now = NOON
        self.stream = LAYOUT.callbacks(app_id, 0)
        self.phones, self.accounts = apns_lane(app_id), mipush_lane(app_id)
        self.devices = RedisDeviceRegistry(store, {"main": app_id})
        self._settling: list[asyncio.Task[None]] = []

    def instance(self, *lanes: Lane, name: str = "worker-1", redis: Any = None, settles: bool = True) -> Instance:
        """A worker that plans for these lanes, all of them where none is named; its settlements are carried out."""
        one = Instance(self, name, redis or self.redis, lanes or [self.phones, self.accounts])
        if settles:
            self._settling.append(asyncio.create_task(one.consumer.run_settling()))
        return one

    def register(self, accounts: Iterable[str], device_id: str = "phone", resource: str = "") -> None:
        for name in accounts:
            self.devices.register(device(name, device_id, f"{name}-{device_id}", resource=resource))

    def accept(self, one: Callback, now: datetime = NOON) -> Acceptance:
        reading = self.reading if self.withdraws or self.counts else None
        judged = judge_callback(one, now=now, second_clock=lambda: now, dedupe_ttl=DAY, reading=reading)
        if isinstance(judged, Acceptance):
            return judged
        return acceptance_of(RedisInbox(self.store, DAY, 1000).accept(judged.message, judged.callback_id))

    def accept_messages(self, sequences: Iterable[int], accounts: Sequence[str] = ("ben",)) -> None:
        for sequence in sequences:
            self.accept(callback(self.app_id, readers(accounts), str(sequence)))

    async def plan(self, *lanes: Lane) -> None:
        """Plan all that waits."""
        await self.ensure_group()
        await self.instance(*lanes).turn()

    async def ensure_group(self) -> None:
        await Faulty(self.redis, "setup", 1).ensure_groups(Callbacks(self.app_id))

    async def jobs(self, lane: Lane) -> list[Job]:
        return [load_job(fields[b"r"]) for _, fields in await self.redis.xrange(LAYOUT.jobs(lane, 0))]

    async def left(self) -> tuple[int, int]:
        """Callbacks in the stream, and how many of them some worker has claimed."""
        return await self.redis.xlen(self.stream), (await self.redis.xpending(self.stream, keys.GROUP))["pending"]

    async def empty(self, lane: Lane) -> list[str]:
        """Deliver does its work: returns whom the lane's jobs were for."""
        queue = Faulty(self.redis, "deliver", 1)
        await queue.ensure_groups(lane)
        entries = await new_of(queue, lane, 1000)
        await queue.settle_jobs(lane, [Finish(entry.id) for entry in entries])
        return [load_job(entry.record).account for entry in entries]

    async def move_due(self, now: datetime) -> int:
        """Messages that waited for a full lane and are due then go back to the callbacks; returns how many."""
        moved = await Faulty(self.redis, "mover", 1).move_due([], [self.app_id], now, 100)
        return moved.messages

    async def end(self) -> None:
        for task in self._settling:
            task.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)


def names(count: int) -> list[str]:
    return [f"user-{n:05}" for n in range(count)]


def readers(accounts: Iterable[str]) -> list[Recipient]:
    return [Recipient(name) for name in accounts]


OnRelay = Callable[[Callable[[Relay], Awaitable[None]]], None]
Logged = list[MutableMapping[str, Any]]


@pytest.fixture
def on_relay(store_url: str, store: Store, app_id: str) -> OnRelay:
    """Runs a scenario with a relay of its own."""

    def run(scenario: Callable[[Relay], Awaitable[None]]) -> None:
        async def to_its_end(redis: Any) -> None:
            relay = Relay(redis, store, app_id, store_url)
            try:
                async with asyncio.timeout(60):
                    await scenario(relay)
            finally:
                await relay.end()

        with_redis(store_url, to_its_end)

    return run


def results(logged: Logged) -> list[str]:
    """What became of each message, as the log says."""
    return [entry["result"] for entry in logged if entry["event"] == "callback planned"]


# whom a message alerts


def test_each_device_of_each_reader_gets_one_job_in_its_lane(on_relay: OnRelay, logged: Logged) -> None:
    async def scenario(relay: Relay) -> None:
        relay.register(["ben", "cai"])
        relay.register(["ben"], "pad")
        relay.devices.register(device("ben", "mi", "regid", platform=Platform.MIPUSH))
        relay.accept(callback(relay.app_id, readers(["ben", "cai", "stranger"])))
        await relay.plan()
        phones = await relay.jobs(relay.phones)
        assert {(one.account, one.device_id) for one in phones} == {("ben", "phone"), ("ben", "pad"), ("cai", "phone")}
        accounts = await relay.jobs(relay.accounts)
        assert [(one.account, one.device_id) for one in accounts] == [("ben", ""), ("cai", ""), ("stranger", "")]
        assert {(one.alert.text.title, one.alert.text.body) for one in phones} == {("ann", "the words of ann")}
        assert await relay.left() == (0, 0)
        (entry,) = logged
        assert (entry["event"], entry["jobs"], entry["result"]) == ("callback planned", 6, "planned")

    on_relay(scenario)


def test_a_repeat_with_one_more_login_alerts_only_that_ones_device(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.register(["ben"], "phone", resource="r1")
        relay.register(["ben"], "pad", resource="r2")
        relay.accept(callback(relay.app_id, [Recipient("ben", ("r1",))]))
        await relay.plan(relay.phones)
        assert [one.device_id for one in await relay.jobs(relay.phones)] == ["phone"]
        relay.accept(callback(relay.app_id, [Recipient("ben", ("r1", "r2"))]))
        await relay.plan(relay.phones)
        assert [one.device_id for one in await relay.jobs(relay.phones)] == ["phone", "pad"]

    on_relay(scenario)


def test_overlapping_callbacks_of_one_message_alert_each_member_once(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        for members in (["ben", "cai"], ["cai", "dan"], ["dan", "ben", "cai"]):
            assert relay.accept(callback(relay.app_id, readers(members))) is Acceptance.ACCEPTED
        await relay.plan(relay.accounts)  # all three together
        assert sorted(one.account for one in await relay.jobs(relay.accounts)) == ["ben", "cai", "dan"]
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_an_instant_callback_does_not_keep_the_same_messages_offline_one_from_alerting(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        offline = callback(relay.app_id)
        assert relay.accept(replace(offline, kind=Kind.NORMAL_TOPIC_MSG)) is Acceptance.INSTANT
        assert relay.accept(offline) is Acceptance.ACCEPTED
        assert relay.accept(replace(offline, kind=Kind.NORMAL_TOPIC_MSG)) is Acceptance.INSTANT
        await relay.plan(relay.accounts)
        assert len(await relay.jobs(relay.accounts)) == 1

    on_relay(scenario)


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"biz_type": "TEXT_READ"}, PlanResult.NO_TEXT),
        ({"sent_at": NOON - timedelta(hours=23)}, PlanResult.EXPIRED),  # it is planned two hours later
        ({"recipients": (Recipient("ann"),)}, PlanResult.NO_READERS),
        ({"recipients": (Recipient("stranger"),)}, PlanResult.NO_DEVICES),
        ({"recipients": (Recipient("blocked"),)}, PlanResult.BLOCKED),
        ({"recipients": (Recipient("blocked"), Recipient("stranger"))}, PlanResult.NO_DEVICES),
        ({"recipients": (Recipient("muting"),)}, PlanResult.MUTED),
        ({"recipients": (Recipient("muting"), Recipient("blocked"))}, PlanResult.MUTED),
        ({"recipients": (Recipient("muting"), Recipient("stranger"))}, PlanResult.NO_DEVICES),
    ],
)
def test_a_message_without_a_job_leaves_its_reason_in_the_log_and_a_metric(
    on_relay: OnRelay, logged: Logged, change: dict[str, Any], result: PlanResult
) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("app_proxy_messages_planned_total", {"result": result}) or 0.0

    async def scenario(relay: Relay) -> None:
        relay.register(["blocked", "muting"])
        book = RedisPreferences(relay.store, {"main": relay.app_id})
        book.write("main", "muting", Preferences({"topic:t1": Mute()}), None)
        RedisBlocks(relay.store).block("blocked")  # no other test knows this account
        before = counted()
        relay.accept(replace(callback(relay.app_id), **change))
        relay.now = NOON + timedelta(hours=2)
        await relay.plan(relay.phones)
        assert await relay.jobs(relay.phones) == []
        assert await relay.left() == (0, 0)
        assert results(logged) == [result]
        assert counted() == before + 1

    on_relay(scenario)


@pytest.mark.parametrize(("asked", "result"), [(True, PlanResult.PRESENT), (False, PlanResult.PLANNED)])
def test_a_reader_who_fetched_a_token_just_now_is_left_alone_where_that_is_wanted(
    on_relay: OnRelay, logged: Logged, asked: bool, result: PlanResult
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.with_presence = asked
        relay.register(["ben", "cai"])
        RedisPresence(relay.store, {"main": relay.app_id}, DAY).note("main", "ben")
        for sequence, accounts in (("1", ["ben"]), ("2", ["ben", "cai"])):
            relay.accept(callback(relay.app_id, readers(accounts), sequence))
            await relay.plan(relay.phones)
        expected = ["cai"] if asked else ["ben", "ben", "cai"]
        assert [one.account for one in await relay.jobs(relay.phones)] == expected
        assert results(logged) == [result, PlanResult.PLANNED]

    on_relay(scenario)


def test_a_message_that_was_planned_before_says_so(on_relay: OnRelay, logged: Logged) -> None:
    async def scenario(relay: Relay) -> None:
        for members in (["ben", "cai"], ["cai"]):
            relay.accept(callback(relay.app_id, readers(members)))
            await relay.plan(relay.accounts)
        assert results(logged) == ["planned", "planned before"]

    on_relay(scenario)


# many at once


@pytest.mark.parametrize("messages", [1, 40])
@pytest.mark.one_server
def test_messages_claimed_together_are_planned_in_three_round_trips_whatever_their_number(
    on_relay: OnRelay, messages: int
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.register(names(5))
        relay.accept_messages([1000], names(5))
        await relay.plan()  # the store knows the scripts now
        async with counted_round_trips(relay.store_url) as trips:
            redis = async_redis(trips.url, timeout_s=5.0)
            await redis.learn_layout()
            one = relay.instance(name="counted", redis=redis)
            await redis.ping()
            relay.accept_messages(range(messages), names(5))
            before = trips.count
            await one.turn()
            assert trips.count - before <= 1 + 3  # the claim comes first, the end of their callbacks last
            await redis.aclose()
        assert len(await relay.jobs(relay.phones)) == 5 * (messages + 1)
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_many_groups_that_are_claimed_together_are_planned_some_at_a_time_so_that_pushes_go_on(
    on_relay: OnRelay,
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept_messages(range(60), names(40))
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        await one.turn()
        assert max(one.queue.together) <= READERS_TOGETHER < 60 * 40
        assert len(await relay.jobs(relay.accounts)) == 60 * 40
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_ten_thousand_readers_come_in_small_chunks(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(callback(relay.app_id, readers(names(10_000))))
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        await one.turn()
        assert max(one.queue.sizes) <= JOBS_PER_CHUNK <= 200
        assert sum(one.queue.sizes) == 10_000
        assert sorted(each.account for each in await relay.jobs(relay.accounts)) == names(10_000)
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_a_crowd_is_planned_beside_small_messages_which_do_not_wait_for_it(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(callback(relay.app_id, readers(names(3000)), sequence="1"))
        relay.accept_messages([2])
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        await one.worker.claim()
        assert "ben" in [each.account for each in await relay.jobs(relay.accounts)]
        await one.consumer.settled()
        assert one.consumer.in_flight.used == 1
        await one.worker.drained()
        assert len(await relay.jobs(relay.accounts)) == 3001

    on_relay(scenario)


@pytest.mark.parametrize("calls", range(4))
@pytest.mark.parametrize("fault", [KeyError("a bug of ours"), ResponseError("WRONGTYPE")])
def test_what_fails_in_any_chunk_comes_again_after_a_lease_and_only_what_is_missing_is_added(
    on_relay: OnRelay, calls: int, fault: Exception
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(callback(relay.app_id, readers(names(300))))
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        one.queue.fault, one.queue.from_call = fault, calls
        await one.turn()
        assert await relay.left() == (1, 1)
        assert len(await relay.jobs(relay.accounts)) == sum(one.queue.sizes) < 300
        await relay.instance(relay.accounts, name="heir").take_over()
        jobs = await relay.jobs(relay.accounts)
        assert len({each.id for each in jobs}) == len(jobs) == 300
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_two_workers_that_plan_one_callback_at_once_do_no_harm(on_relay: OnRelay, logged: Logged) -> None:
    async def scenario(relay: Relay) -> None:
        relay.register(names(120))
        relay.accept(callback(relay.app_id, readers(names(120))))
        await relay.ensure_group()
        ours, theirs = relay.instance(), relay.instance(name="worker-2")
        planning = asyncio.create_task(ours.turn())
        while not ours.consumer.in_flight.used:
            await asyncio.sleep(0)
        await asyncio.gather(planning, theirs.take_over())
        for lane in (relay.phones, relay.accounts):
            assert sorted(each.account for each in await relay.jobs(lane)) == names(120)
        assert sum(entry["jobs"] for entry in logged if entry["event"] == "callback planned") == 240
        assert await relay.left() == (0, 0)

    on_relay(scenario)


# what cannot be planned


def test_an_unreadable_callback_is_a_dead_letter_and_its_neighbours_are_planned(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept_messages([1])
        await relay.redis.xadd(relay.stream, {"r": '{"v":2}'})
        relay.accept_messages([2])
        await relay.plan(relay.accounts)
        assert len(await relay.jobs(relay.accounts)) == 2
        assert await relay.left() == (0, 0)
        assert await relay.redis.xlen(LAYOUT.dead_letters(relay.app_id, 0)) == 1

    on_relay(scenario)


def test_a_message_that_the_store_refuses_does_not_hold_up_those_that_were_claimed_with_it(
    on_relay: OnRelay, logged: Logged
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept_messages([1, 2, 3])
        records = [load_offline_message(fields[b"r"]) for _, fields in await relay.redis.xrange(relay.stream)]
        marks = marks_of(relay.redis.layout, relay.app_id, records[1].message_id)
        await relay.redis.set(marks, "no hash")
        await relay.plan(relay.accounts)
        assert len(await relay.jobs(relay.accounts)) == 2
        assert await relay.left() == (1, 1)
        assert results(logged) == ["planned"] * 2
        await relay.redis.delete(marks)
        await relay.instance(relay.accounts, name="heir").take_over()
        assert len(await relay.jobs(relay.accounts)) == 3
        assert await relay.left() == (0, 0)

    on_relay(scenario)


@pytest.mark.parametrize("fault", [RedisConnectionError(), OutOfMemoryError(), ReadOnlyError()])
def test_a_store_in_trouble_is_waited_for_with_the_callbacks_in_hand(
    on_relay: OnRelay, fault: Exception, logged: Logged
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept_messages([1, 2])
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        one.queue.fault = fault
        planning = asyncio.create_task(one.turn())
        while not logged:
            await asyncio.sleep(0.001)
        assert one.consumer.in_flight.used == 2
        one.queue.fault = None
        await planning
        assert len(await relay.jobs(relay.accounts)) == 2
        assert await relay.left() == (0, 0)
        assert [entry["event"] for entry in logged] == [
            "the store does not answer, waiting",
            "the store answers again",
            *["callback planned"] * 2,
        ]

    on_relay(scenario)


def test_what_a_node_that_is_away_has_a_part_in_waits_and_what_comes_with_it_or_later_does_not(
    on_relay: OnRelay,
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept_messages([1], ["cai"])
        relay.accept_messages([2], ["ben"])
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        one.queue.away = ["cai"]
        await one.worker.claim()
        relay.accept_messages([3], ["dan"])
        await one.worker.claim()
        while one.consumer.in_flight.used > 1:
            await asyncio.sleep(0.001)
        assert [job.account for job in await relay.jobs(relay.accounts)] == ["ben", "dan"]
        one.queue.away = []
        await one.worker.drained()
        assert [job.account for job in await relay.jobs(relay.accounts)] == ["ben", "dan", "cai"]
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_a_crowd_that_is_planned_with_a_break_counts_as_planned_now(on_relay: OnRelay, logged: Logged) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(callback(relay.app_id, readers(names(JOBS_PER_CHUNK + 1))))
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        one.queue.fault, one.queue.from_call = RedisConnectionError(), 1
        planning = asyncio.create_task(one.turn())
        while not logged:
            await asyncio.sleep(0.001)
        one.queue.fault = None
        await planning
        (planned,) = [entry for entry in logged if entry["event"] == "callback planned"]
        assert (planned["result"], planned["jobs"]) == ("planned", JOBS_PER_CHUNK + 1)

    on_relay(scenario)


def test_what_can_never_be_planned_ends_as_a_dead_letter(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept_messages([1])
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        one.queue.fault = KeyError("a bug of ours")
        await one.turn()
        for _ in range(6):
            assert (await relay.left())[0] == 1
            await one.take_over()
        assert await relay.left() == (0, 0)
        ((id_, letter),) = await relay.redis.xrange(LAYOUT.dead_letters(relay.app_id, 0))
        message = offline_message(callback(relay.app_id, sequence="1"), NOON)
        assert letter[b"cause"] == b"poison"
        assert load_offline_message(letter[b"r"]) == replace(message, payload=b"")
        words = await relay.redis.get(LAYOUT.dead_words(relay.app_id, id_.decode(), 0))
        assert load_offline_message(words) == message

    on_relay(scenario)


def test_a_poison_callback_whose_worker_ended_over_the_look_up_too_is_buried_without_one(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        book = RedisPreferences(relay.store, {"main": relay.app_id})
        book.write("main", "ben", Preferences(preview=Preview.NONE), None)
        relay.accept_messages([1])
        await relay.ensure_group()
        one = relay.instance(relay.accounts)
        one.queue.fault = KeyError("a bug of ours")
        await one.turn()
        for _ in range(5):
            await one.take_over()
        await asyncio.sleep(SHORT_LEASE_S)
        await one.worker.take_over()
        await one.worker.abandon()
        assert await relay.left() == (1, 1)
        await relay.instance(relay.accounts, name="worker-2").take_over()
        assert await relay.left() == (0, 0)
        ((id_, _),) = await relay.redis.xrange(LAYOUT.dead_letters(relay.app_id, 0))
        kept = load_offline_message(await relay.redis.get(LAYOUT.dead_words(relay.app_id, id_.decode(), 0)))
        assert kept.payload == b"the words of ann"  # it was not known who hides them

    on_relay(scenario)


# lanes that are full


def test_a_full_lane_holds_back_its_own_jobs_alone(on_relay: OnRelay, logged: Logged) -> None:
    async def scenario(relay: Relay) -> None:
        relay.jobs_cap = 1
        relay.register(["ben"])
        await put_jobs(relay.redis, relay.accounts, [job(relay.accounts, "zed", "")])
        relay.accept_messages([1])
        await relay.plan()
        assert [each.account for each in await relay.jobs(relay.phones)] == ["ben"]
        assert [each.account for each in await relay.jobs(relay.accounts)] == ["zed"]
        assert await relay.left() == (0, 0)  # it holds no place of the worker while it waits
        assert results(logged) == ["waits for a full lane"]
        assert await relay.empty(relay.accounts) == ["zed"]
        assert await relay.move_due(NOON + SECOND - MS) == 0
        assert await relay.move_due(NOON + SECOND) == 1
        await relay.plan()
        assert [each.account for each in await relay.jobs(relay.accounts)] == ["ben"]
        assert len(await relay.jobs(relay.phones)) == 1
        assert results(logged) == ["waits for a full lane", "planned"]

    on_relay(scenario)


def test_a_message_that_waits_for_a_full_lane_is_tried_less_and_less_often(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.jobs_cap = 1
        await put_jobs(relay.redis, relay.accounts, [job(relay.accounts, "zed", "")])
        relay.accept_messages([1])
        for wait_s in (1, 2, 4, 8, 16, 30, 30):
            await relay.plan(relay.accounts)
            assert await relay.left() == (0, 0)
            assert await relay.move_due(relay.now + wait_s * SECOND - MS) == 0
            relay.now += wait_s * SECOND
            assert await relay.move_due(relay.now) == 1

    on_relay(scenario)


def test_a_crowd_in_front_of_a_lane_that_fills_up_loses_nobody_and_keeps_the_lane_within_its_cap(
    on_relay: OnRelay,
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.jobs_cap, served = 100, list[str]()
        relay.accept(callback(relay.app_id, readers(names(420))))
        while len(served) < 420:
            await relay.plan(relay.accounts)
            batch = await relay.empty(relay.accounts)
            assert 0 < len(batch) <= 100 + JOBS_PER_CHUNK
            served += batch
            relay.now += 30 * SECOND
            await relay.move_due(relay.now)
        assert sorted(served) == names(420)
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_jobs_that_wait_for_another_try_do_not_make_room(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.jobs_cap = 1
        await relay.redis.zadd(LAYOUT.retries(relay.accounts, 0), {b"one": 1})
        relay.accept_messages([1])
        await relay.plan(relay.accounts)
        assert await relay.jobs(relay.accounts) == []
        await relay.redis.delete(LAYOUT.retries(relay.accounts, 0))
        assert await relay.move_due(NOON + SECOND) == 1
        await relay.plan(relay.accounts)
        assert len(await relay.jobs(relay.accounts)) == 1

    on_relay(scenario)


def test_a_job_lives_a_day_from_acceptance_and_keeps_its_place_in_the_conversation(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(callback(relay.app_id, sequence="9007199254740995"), now=NOON)
        relay.now = NOON + 60 * SECOND
        await relay.plan(relay.accounts)
        (one,) = await relay.jobs(relay.accounts)
        assert one.alert.expires_at == NOON + DAY
        assert one.alert.order.sequence == 9007199254740995

    on_relay(scenario)


# what an alert may show


TOLD = b'{"type":"TEXT","payload":"canary-text","nick":"canary-nick","group":"canary-group","msgId":"m7"}'
CANARIES = (b"canary-text", b"canary-nick", b"canary-group", b64encode(TOLD)[:60])


def secretive(relay: Relay) -> None:
    relay.preview = Preview.NONE
    relay.reading = replace(relay.reading, sender_name=(("nick",),), group_name=(("group",),))


def test_where_an_app_shows_nothing_no_job_and_no_request_has_a_byte_of_text_or_name(
    on_relay: OnRelay, logged: Logged
) -> None:
    async def scenario(relay: Relay) -> None:
        secretive(relay)
        relay.register(["ben"])
        relay.accept(replace(callback(relay.app_id), payload=TOLD, biz_type=""))
        stored = await all_that_is_stored(relay.redis, relay.app_id)
        assert any(it in stored for it in CANARIES)  # until it is planned
        await relay.plan()
        (phone,), (account,) = await relay.jobs(relay.phones), await relay.jobs(relay.accounts)
        apns, mipush = ApnsWire(apns_settings(), ApnsEnvironment.PRODUCTION), MipushWire(mipush_settings())
        requests = [
            apns.build([Push(phone, device("ben", "phone", "ab"))], "bearer", NOON),
            mipush.build([Push(account, None)], "key", NOON),
        ]
        stored = await all_that_is_stored(relay.redis, relay.app_id)
        everything = b"".join([stored, repr(logged).encode(), *(it.body for it in requests)])
        assert [it for it in CANARIES if it in everything] == []
        assert b"New message" in requests[0].body

    on_relay(scenario)


@pytest.mark.parametrize("hides", ["the app", "its one reader", "their one phone"])
def test_where_no_alert_would_show_words_a_dead_letter_keeps_the_type_alone(on_relay: OnRelay, hides: str) -> None:
    async def scenario(relay: Relay) -> None:
        if hides == "the app":
            secretive(relay)
        preview = Preview.NONE if hides == "their one phone" else Preview.FULL
        relay.devices.register(replace(device("ben", "phone", "ben-phone"), preview=preview))
        if hides == "its one reader":
            book = RedisPreferences(relay.store, {"main": relay.app_id})
            book.write("main", "ben", Preferences(preview=Preview.NONE), None)
        relay.accept(replace(callback(relay.app_id), payload=TOLD, biz_type=""))
        await relay.ensure_group()
        one = relay.instance(relay.phones)
        one.queue.fault = KeyError("a bug of ours")
        await one.turn()
        for _ in range(6):
            await one.take_over()
        everything = await all_that_is_stored(relay.redis, relay.app_id)
        assert await relay.left() == (0, 0), hides
        assert [it for it in CANARIES if it in everything] == []
        ((id_, _),) = await relay.redis.xrange(LAYOUT.dead_letters(relay.app_id, 0))
        kept = load_offline_message(await relay.redis.get(LAYOUT.dead_words(relay.app_id, id_.decode(), 0)))
        assert (relay.reading.type_of(kept.payload, kept.biz_type), kept.payload) == ("TEXT", b"{}")

    on_relay(scenario)
