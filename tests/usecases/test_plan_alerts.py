"""Plan on a real store: every target once, however often, by however many, and however far it came."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from proxy.domain.callbacks import Callback, Kind, Recipient
from proxy.domain.devices import Platform
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Route
from proxy.ports import Entry, Finish, JobQueue
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import load_job, load_offline_message
from proxy.usecases.accept_callback import Acceptance, accept_callback
from proxy.usecases.plan_alerts import JOBS_PER_CHUNK, Planner
from tests.store.samples import (
    DAY,
    MS,
    NO_WAIT,
    NOON,
    SECOND,
    apns_lane,
    callback,
    device,
    job,
    mipush_lane,
    put_jobs,
    queue_of,
    with_redis,
)


class Crash(Exception):
    """The process ends here."""


@dataclass
class Recording:
    """A JobQueue that counts the jobs of each call, and dies before call number `crash_at`."""

    queue: JobQueue
    crash_at: int | None = None
    sizes: list[int] = field(default_factory=list)

    async def append_jobs(
        self, app_id: str, message_id: str, entry_id: bytes, jobs: Sequence[tuple[Lane, Job]], *, last: bool
    ) -> list[bool] | None:
        if len(self.sizes) == self.crash_at:
            raise Crash
        self.sizes.append(len(jobs))
        return await self.queue.append_jobs(app_id, message_id, entry_id, jobs, last=last)


@dataclass
class Relay:
    """An app's intake and plan, with a lane to each iPhone and a lane to MiPush accounts."""

    redis: Any
    store: Store
    app_id: str
    jobs_cap: int = 50_000
    planned: list[Lane] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.phones, self.accounts = apns_lane(self.app_id), mipush_lane(self.app_id)
        self.devices = RedisDeviceRegistry(self.store, {"main": self.app_id})

    def register(self, accounts: Iterable[str], device_id: str = "phone", resource: str = "") -> None:
        for name in accounts:
            self.devices.register(device(name, device_id, f"{name}-{device_id}", resource=resource))

    def accept(self, one: Callback, now: datetime = NOON) -> Acceptance:
        return accept_callback(one, RedisInbox(self.store, DAY, 1000), now=now, dedupe_ttl=DAY)

    async def claim(self, instance: str = "worker-1") -> list[Entry]:
        queue = queue_of(self.redis, instance)
        stream = keys.callbacks(self.app_id)
        await queue.ensure_group(stream)
        return await queue.claim(stream, 100, NO_WAIT)

    def planner(self, *lanes: Lane, queue: JobQueue | None = None) -> Planner:
        return Planner(
            routes=[Route(lane, to_account=lane.channel == "mipush") for lane in lanes or [self.phones]],
            addresses=RedisAddresses(self.redis, {"main": self.app_id}, "worker-1"),
            queue=queue or self.queue(),
            alert_ttl=DAY,
            on_planned=self.planned.append,
            full_lane_wait_s=0.01,
        )

    def queue(self) -> RedisQueue:
        return queue_of(self.redis, jobs_cap=self.jobs_cap)

    async def plan(self, *lanes: Lane, now: datetime = NOON, queue: JobQueue | None = None) -> int:
        """Plan all that is waiting, as a worker that has claimed it."""
        entries = await self.claim()
        return sum([await plan_one(self.planner(*lanes, queue=queue), entry, now) for entry in entries])

    async def jobs(self, lane: Lane) -> list[Job]:
        return [load_job(fields[b"r"]) for _, fields in await self.redis.xrange(keys.jobs(lane))]

    async def left(self) -> tuple[int, int]:
        """Callbacks in the stream, and those of them that somebody holds."""
        stream = keys.callbacks(self.app_id)
        return await self.redis.xlen(stream), (await self.redis.xpending(stream, keys.GROUP))["pending"]


async def plan_one(planner: Planner, entry: Entry, now: datetime = NOON) -> int:
    return await planner.plan(entry.id, load_offline_message(entry.record), now)


def names(count: int) -> list[str]:
    return [f"user-{n:05}" for n in range(count)]


def readers(accounts: Iterable[str]) -> list[Recipient]:
    return [Recipient(name) for name in accounts]


@pytest.fixture
def on_relay(store_url: str, store: Store, app_id: str) -> Callable[[Callable[[Relay], Awaitable[None]]], None]:
    """Runs a scenario with a relay of its own."""
    return lambda scenario: with_redis(store_url, lambda redis: scenario(Relay(redis, store, app_id)))


OnRelay = Callable[[Callable[[Relay], Awaitable[None]]], None]


def test_each_device_of_each_reader_gets_one_job_in_its_lane(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.register(["ben", "cai"])
        relay.register(["ben"], "pad")
        relay.devices.register(device("ben", "mi", "regid", platform=Platform.MIPUSH))
        relay.accept(callback(relay.app_id, readers(["ben", "cai", "nobody"])))
        assert await relay.plan(relay.phones, relay.accounts) == 6
        phones = await relay.jobs(relay.phones)
        assert {(it.account, it.device_id) for it in phones} == {("ben", "phone"), ("ben", "pad"), ("cai", "phone")}
        accounts = await relay.jobs(relay.accounts)
        assert [(it.account, it.device_id) for it in accounts] == [("ben", ""), ("cai", ""), ("nobody", "")]
        assert {(it.alert.text.title, it.alert.text.body) for it in phones} == {("ann", "the words of ann")}
        assert await relay.left() == (0, 0)
        assert sorted(relay.planned) == [relay.phones] * 3 + [relay.accounts] * 3

    on_relay(scenario)


def test_ten_thousand_readers_come_in_small_calls(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        recording = Recording(relay.queue())
        relay.accept(callback(relay.app_id, readers(names(10_000))))
        assert await relay.plan(relay.accounts, queue=recording) == 10_000
        assert max(recording.sizes) <= JOBS_PER_CHUNK <= 200
        assert sum(recording.sizes) == 10_000
        assert sorted(it.account for it in await relay.jobs(relay.accounts)) == names(10_000)
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_after_a_crash_in_any_chunk_a_second_run_adds_only_what_is_missing(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        for sequence, crash_at in enumerate((0, 1, 2, 3), start=1):
            relay.accept(callback(relay.app_id, readers(names(700)), sequence=str(sequence)))
            (entry,) = await relay.claim()
            with pytest.raises(Crash):
                await plan_one(relay.planner(relay.accounts, queue=Recording(relay.queue(), crash_at)), entry)
            assert await relay.left() == (1, 1)
            assert await plan_one(relay.planner(relay.accounts), entry) == 700 - JOBS_PER_CHUNK * crash_at
            assert await plan_one(relay.planner(relay.accounts), entry) == 0
            assert await relay.left() == (0, 0)
            jobs = await relay.jobs(relay.accounts)
            assert len({it.id for it in jobs}) == len(jobs) == 700 * sequence

    on_relay(scenario)


def test_two_workers_that_plan_one_callback_at_once_do_no_harm(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.register(names(450))
        relay.accept(callback(relay.app_id, readers(names(450))))
        (entry,) = await relay.claim()
        await asyncio.sleep(0.005)
        other = queue_of(relay.redis, "worker-2", MS)
        (same,) = await other.take_over(keys.callbacks(relay.app_id), 10)
        lanes = relay.phones, relay.accounts
        shares = await asyncio.gather(
            plan_one(relay.planner(*lanes), entry), plan_one(relay.planner(*lanes, queue=other), same)
        )
        assert sum(shares) == len(relay.planned) == 900
        for lane in lanes:
            assert sorted(it.account for it in await relay.jobs(lane)) == names(450)
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_an_instant_callback_does_not_keep_the_same_messages_offline_one_from_alerting(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        offline = callback(relay.app_id, readers(["ben"]))
        assert relay.accept(replace(offline, kind=Kind.NORMAL_TOPIC_MSG)) is Acceptance.INSTANT
        assert relay.accept(offline) is Acceptance.ACCEPTED
        assert relay.accept(replace(offline, kind=Kind.NORMAL_TOPIC_MSG)) is Acceptance.INSTANT
        assert await relay.plan(relay.accounts) == 1

    on_relay(scenario)


def test_overlapping_callbacks_of_one_message_alert_each_member_once(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        for members in (["ben", "cai"], ["cai", "dan"], ["dan", "ben", "cai"]):
            assert relay.accept(callback(relay.app_id, readers(members))) is Acceptance.ACCEPTED
        assert await relay.plan(relay.accounts) == 3
        assert sorted(it.account for it in await relay.jobs(relay.accounts)) == ["ben", "cai", "dan"]
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_a_repeat_with_one_more_login_alerts_only_that_ones_device(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.register(["ben"], "phone", resource="r1")
        relay.register(["ben"], "pad", resource="r2")
        relay.accept(callback(relay.app_id, [Recipient("ben", ("r1",))]))
        assert await relay.plan() == 1
        relay.accept(callback(relay.app_id, [Recipient("ben", ("r1", "r2"))]))
        assert await relay.plan() == 1
        assert [it.device_id for it in await relay.jobs(relay.phones)] == ["phone", "pad"]

    on_relay(scenario)


def test_named_logins_narrow_only_devices_that_named_theirs(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        for device_id, resource in (("missed", "r1"), ("online", "r2"), ("silent", "")):
            relay.register(["ben"], device_id, resource)
        relay.accept(callback(relay.app_id, [Recipient("ben", ("r1",))], sequence="1"))
        await relay.plan()
        assert {it.device_id for it in await relay.jobs(relay.phones)} == {"missed", "silent"}
        relay.accept(callback(relay.app_id, [Recipient("ben")], sequence="2"))
        assert await relay.plan() == 3  # none named: all of them missed it

    on_relay(scenario)


def test_the_sender_is_never_alerted_of_his_own_message(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.register(["ann", "ben"])
        relay.accept(callback(relay.app_id, readers(["ann", "ben"]), sequence="1"))
        assert await relay.plan(relay.phones, relay.accounts) == 2
        relay.accept(callback(relay.app_id, readers(["ann"]), sequence="2"))
        assert await relay.plan(relay.phones, relay.accounts) == 0
        assert {it.account for it in await relay.jobs(relay.phones)} == {"ben"}
        assert await relay.left() == (0, 0)

    on_relay(scenario)


@pytest.mark.parametrize(
    ("change", "now"),
    [
        ({"biz_type": "TEXT_READ"}, NOON),  # a receipt says nothing to a person
        ({"sent_at": NOON - timedelta(hours=23)}, NOON + timedelta(hours=2)),  # planned only after it had expired
    ],
)
def test_what_nobody_is_to_see_is_planned_away(on_relay: OnRelay, change: dict[str, Any], now: datetime) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(replace(callback(relay.app_id), **change))
        assert await relay.plan(relay.accounts, now=now) == 0
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_a_full_lane_stops_plan_without_loss_and_lets_it_go_on_when_there_is_room(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.jobs_cap = 300
        relay.accept(callback(relay.app_id, readers(names(700))))
        (entry,) = await relay.claim()
        planning = asyncio.create_task(plan_one(relay.planner(relay.accounts), entry))
        queue, stream, seen = relay.queue(), keys.jobs(relay.accounts), list[str]()
        await queue.ensure_group(stream)
        while len(seen) < 700:
            while await queue.length(stream) < 300 and not planning.done():
                await asyncio.sleep(0.005)
            assert await queue.length(stream) <= 300 + 199
            assert planning.done() or await relay.left() == (1, 1)
            entries = await queue.claim(stream, 250, NO_WAIT)
            seen += [load_job(it.record).account for it in entries]
            await queue.settle_jobs(relay.accounts, [Finish(it.id) for it in entries])
        assert await planning == 700
        assert sorted(seen) == names(700)
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_jobs_that_wait_for_another_try_do_not_make_room(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.jobs_cap = 1
        await put_jobs(relay.redis, relay.accounts, [job(relay.accounts, "zed", "")])
        await relay.redis.zadd(keys.retries(relay.accounts), {b"one": 1})
        await relay.redis.delete(keys.jobs(relay.accounts))
        relay.accept(callback(relay.app_id))
        planning = asyncio.create_task(relay.plan(relay.accounts))
        await asyncio.sleep(0.1)
        assert not planning.done()
        assert await relay.left() == (1, 1)
        await relay.redis.delete(keys.retries(relay.accounts))
        assert await planning == 1

    on_relay(scenario)


def test_a_job_lives_a_day_from_acceptance_and_keeps_its_place_in_the_conversation(on_relay: OnRelay) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(callback(relay.app_id, sequence="9007199254740995"), now=NOON)
        await relay.plan(relay.accounts, now=NOON + 60 * SECOND)
        (one,) = await relay.jobs(relay.accounts)
        assert one.alert.expires_at == NOON + DAY
        assert one.alert.order.sequence == 9007199254740995

    on_relay(scenario)
