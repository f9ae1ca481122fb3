"""Claim, lease, capacity, take-over and settling on a real store: the same for callbacks and lanes."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import ConnectionError as RedisConnectionError

from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Job
from proxy.domain.settlements import Bury, Entry, Finish, Postpone, Settlement, SettleResult
from proxy.store import keys
from proxy.store.records import load_job
from proxy.worker.consumer import StreamConsumer
from proxy.worker.leases import Leases
from proxy.worker.observer import RelayObserver
from tests.store.samples import LAYOUT, MS, NO_WAIT, NOON, alert, mipush_lane, put_jobs, queue_of, with_redis

SHORT_LEASE_S = 0.005  # longer than the store's, so that a take-over needs no waiting


class Bench:
    """A lane's stream and the workers that read it. Their entries may be taken over from each other at once."""

    def __init__(self, redis: Any, app_id: str) -> None:
        self.redis, self.app_id = redis, app_id
        self.lane = mipush_lane(app_id)
        self.stream = LAYOUT.jobs(self.lane, 0)
        self._settling: list[asyncio.Task[None]] = []

    def worker(
        self, name: str = "worker-1", *, in_flight: int = 100, lease: timedelta = MS, block: timedelta = NO_WAIT
    ) -> StreamConsumer:
        """The consumer of a worker instance, whose settlements are carried out."""
        queue = queue_of(self.redis, name, lease)
        consumer = StreamConsumer(
            self.lane,
            queue,
            Leases(15.0),
            partial(queue.settle_jobs, self.lane),
            RelayObserver(self.app_id, self.lane),
            in_flight=in_flight,
            block=block,
        )
        self._settling.append(asyncio.create_task(consumer.run_settling()))
        return consumer

    async def put(self, *accounts: str) -> None:
        await queue_of(self.redis).ensure_groups(self.lane)
        await put_jobs(self.redis, self.lane, [Job("main", "mipush", name, "", alert()) for name in accounts])

    async def backlog(self) -> tuple[int, int]:
        """Entries of the stream, and how many of them some worker has claimed."""
        pending = await self.redis.xpending(self.stream, keys.GROUP)
        return await self.redis.xlen(self.stream), pending["pending"]

    async def dead_letters(self) -> list[tuple[bytes, bytes]]:
        letters = await self.redis.xrange(LAYOUT.dead_letters(self.app_id, 0))
        return [(fields[b"cause"], fields[b"reason"]) for _, fields in letters]

    def metric(self, name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    async def end(self) -> None:
        for task in self._settling:
            task.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)


OnStream = Callable[[Callable[[Bench], Awaitable[None]]], None]


@pytest.fixture
def on_stream(store_url: str, app_id: str) -> OnStream:
    def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async def to_its_end(redis: Any) -> None:
            bench = Bench(redis, app_id)
            try:
                async with asyncio.timeout(20):
                    await scenario(bench)
            finally:
                await bench.end()

        with_redis(store_url, to_its_end)

    return run


def accounts(entries: Sequence[Entry]) -> list[str]:
    return [load_job(entry.record).account for entry in entries]


async def past_the_lease() -> None:
    await asyncio.sleep(SHORT_LEASE_S)


async def finish(consumer: StreamConsumer, entries: Sequence[Entry]) -> None:
    for entry in entries:
        consumer.settle(Finish(entry.id))
    await consumer.settled()


def test_no_more_is_claimed_than_may_be_in_flight_until_something_is_settled(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai", "dan")
        worker = bench.worker(in_flight=2)
        first = await worker.claim()
        assert accounts(first) == ["ben", "cai"]
        assert await worker.claim() == []
        await finish(worker, first[:1])
        assert accounts(await worker.claim()) == ["dan"]
        assert await bench.backlog() == (2, 2)

    on_stream(scenario)


def test_what_is_settled_is_gone_and_its_place_is_free(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai")
        worker = bench.worker()
        entries = await worker.claim()
        assert worker.in_flight.used == 2
        assert all(worker.is_open(entry.id) and worker.may_act([entry.id]) for entry in entries)
        await finish(worker, entries)
        assert worker.in_flight.used == 0
        assert not any(worker.is_open(entry.id) or worker.may_act([entry.id]) for entry in entries)
        assert await bench.backlog() == (0, 0)

    on_stream(scenario)


def test_an_entry_is_settled_once_whatever_else_is_decided_about_it(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        worker = bench.worker()
        (entry,) = await worker.claim()
        worker.settle(Finish(entry.id))
        worker.settle(Postpone(entry.id, load_job(entry.record), NOON))
        worker.release([entry.id])
        await worker.settled()
        assert await bench.backlog() == (0, 0)
        assert await bench.redis.zcard(LAYOUT.retries(bench.lane, 0)) == 0
        assert worker.in_flight.used == 0

    on_stream(scenario)


def test_what_is_released_stays_in_the_stream_for_a_later_take_over(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        worker = bench.worker()
        (entry,) = await worker.claim()
        worker.release([entry.id])
        assert (worker.in_flight.used, worker.is_open(entry.id)) == (0, False)
        assert await bench.backlog() == (1, 1)
        await past_the_lease()
        assert accounts(await bench.worker("worker-2").take_over()) == ["ben"]

    on_stream(scenario)


def test_what_a_dead_worker_left_is_taken_over_after_a_lease_and_not_before(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai")
        await bench.worker("dead").claim()
        patient, heir = bench.worker("patient", lease=timedelta(minutes=1)), bench.worker("heir")
        assert await patient.take_over() == []
        await past_the_lease()
        assert accounts(await heir.take_over()) == ["ben", "cai"]
        assert heir.in_flight.used == 2

    on_stream(scenario)


def test_a_take_over_fills_no_more_places_than_are_free_and_the_next_claim_goes_on_with_it(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai", "dan")
        await bench.worker("dead").claim()
        await bench.put("new")
        heir = bench.worker("heir", in_flight=2)
        await past_the_lease()
        first = await heir.take_over()
        assert accounts(first) == ["ben", "cai"]
        assert await heir.take_over() == []  # no room
        await finish(heir, first)
        assert accounts(await heir.claim()) == ["dan"]  # what was left comes before what is new
        assert accounts(await heir.claim()) == ["new"]

    on_stream(scenario)


def test_nothing_is_taken_from_the_plan_before_what_a_dead_worker_left(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        heir = bench.worker("heir", in_flight=1)
        await heir.claim()
        await bench.put("ben")
        await bench.worker("dead").claim()
        assert heir.admit(1) == 1
        await past_the_lease()
        assert await heir.take_over() == []  # no room
        heir.claimed([], 1, 0.0)
        assert heir.admit(1) == 0
        assert accounts(await heir.claim()) == ["ben"]

    on_stream(scenario)


def test_a_claim_and_a_take_over_at_one_moment_fill_no_place_twice(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai", "dan", "eve")
        await bench.worker("dead", in_flight=2).claim()
        await past_the_lease()
        heir = bench.worker("heir", in_flight=2)
        await asyncio.gather(heir.take_over(), heir.claim())
        assert heir.in_flight.used == 2

    on_stream(scenario)


def test_what_is_taken_over_from_oneself_while_it_is_in_flight_is_nothing_new(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        worker = bench.worker()
        (entry,) = await worker.claim()
        await past_the_lease()  # we were slow to renew it
        assert await worker.take_over() == []
        assert worker.in_flight.used == 1
        await finish(worker, [entry])
        assert await bench.backlog() == (0, 0)

    on_stream(scenario)


def test_from_its_third_delivery_on_an_entry_is_claimed_alone_until_it_is_settled(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai", "dan")
        await bench.worker("dead-1").claim()
        await past_the_lease()
        assert len(await bench.worker("dead-2").take_over()) == 3  # one death may be anything
        await bench.put("new")
        await bench.worker("dead-3").claim()
        await past_the_lease()
        heir = bench.worker("heir")
        first = await heir.take_over()
        (suspect,) = [entry for entry in first if entry.deliveries >= 3]
        assert accounts(first) == ["new", accounts([suspect])[0]]  # an entry without suspicion need not wait
        await past_the_lease()
        assert await heir.take_over() == []
        assert await heir.claim() == []
        await finish(heir, first)
        second = await heir.claim()  # the next one at once, without a wait for the periodic look
        assert len(second) == 1
        heir.release([second[0].id])  # left for later: so is the next one's turn
        await past_the_lease()
        assert len(await heir.take_over()) == 1

    on_stream(scenario)


def test_while_a_suspect_is_in_hand_no_read_blocks_the_claim_of_the_next(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai", "dan")
        for name in ("dead-1", "dead-2"):
            await past_the_lease()
            worker = bench.worker(name)
            await (worker.claim() if name == "dead-1" else worker.take_over())
        await past_the_lease()
        heir = bench.worker("heir", block=timedelta(minutes=1))
        found = await heir.take_over()
        assert len(found) == 1
        reading = asyncio.create_task(heir.claim())
        await asyncio.sleep(0)  # it reads before the first suspect is settled
        for _ in range(2):
            await finish(heir, found)
            while not (found := await reading):
                reading = asyncio.create_task(heir.claim())
            assert len(found) == 1
            reading = asyncio.create_task(heir.claim())
            await asyncio.sleep(0)
        reading.cancel()

    on_stream(scenario)


def test_one_entry_that_ends_each_of_its_workers_is_found_and_its_neighbours_are_served(on_stream: OnStream) -> None:
    """A worker that reads the culprit dies: it settles nothing of what it has claimed."""

    async def scenario(bench: Bench) -> None:
        await bench.put(*(f"user-{n}" for n in range(20)))
        served, deaths = list[str](), 0
        while (await bench.backlog())[0] and deaths < 10:
            worker = bench.worker(f"worker-{deaths}")
            await past_the_lease()
            while entries := [*await worker.take_over(), *await worker.claim()]:
                culprit = next((entry for entry in entries if accounts([entry]) == ["user-7"]), None)
                if culprit is not None and culprit.deliveries <= 6:
                    deaths += 1
                    break
                if culprit is not None:
                    worker.settle(Bury(culprit.id, Cause.POISON, "poison", load_job(culprit.record)))
                innocent = [entry for entry in entries if entry is not culprit]
                await finish(worker, innocent)
                served += accounts(innocent)
                await past_the_lease()
        assert deaths == 6
        assert sorted(served) == sorted(f"user-{n}" for n in range(20) if n != 7)
        assert await bench.dead_letters() == [(b"poison", b"poison")]

    on_stream(scenario)


def test_an_entry_that_another_worker_took_over_leaves_our_hands_and_is_counted(
    on_stream: OnStream, logged: list[MutableMapping[str, Any]]
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai")
        slow = bench.worker("slow")
        entries = await slow.claim()
        await past_the_lease()
        await bench.worker("heir", in_flight=1).take_over()
        before = bench.metric("app_proxy_leases_lost_total")
        slow.settle(Bury(entries[0].id, Cause.REJECTED, "too large", load_job(entries[0].record)))
        slow.settle(Finish(entries[1].id))
        await slow.settled()
        assert bench.metric("app_proxy_leases_lost_total") == before + 1
        assert slow.in_flight.used == 0
        assert await bench.backlog() == (1, 1)
        assert await bench.dead_letters() == []
        assert bench.metric("app_proxy_dead_letters_total", **labels_of(bench, Cause.REJECTED)) == 0
        assert any(entry["log_level"] == "warning" and entry.get("count") == 1 for entry in logged)

    on_stream(scenario)


def labels_of(bench: Bench, cause: Cause) -> dict[str, str]:
    return {"app_id": bench.app_id, "app": "main", "channel": "mipush", "cause": cause}


def test_one_settlement_that_the_store_refuses_is_buried_and_the_others_are_carried_out(on_stream: OnStream) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai", "dan")
        await bench.redis.set(LAYOUT.retries(bench.lane, 0), "no sorted set")
        worker = bench.worker()
        ben, cai, dan = await worker.claim()
        worker.settle(Finish(ben.id))
        worker.settle(Postpone(cai.id, load_job(cai.record), NOON))
        worker.settle(Finish(dan.id))
        await worker.settled()
        assert await bench.backlog() == (0, 0)
        ((cause, _),) = await bench.dead_letters()
        assert cause == b"internal"
        assert worker.in_flight.used == 0
        assert bench.metric("app_proxy_dead_letters_total", **labels_of(bench, Cause.INTERNAL)) == 1

    on_stream(scenario)


def test_where_the_list_of_dead_letters_is_broken_too_the_entry_stays_pending_told_and_holds_up_no_other(
    on_stream: OnStream, logged: list[MutableMapping[str, Any]]
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai")
        await bench.redis.set(LAYOUT.dead_letters(bench.app_id, 0), "no stream")
        worker = bench.worker()
        ben, cai = await worker.claim()
        worker.settle(Bury(ben.id, Cause.REJECTED, "too large", load_job(ben.record)))
        worker.settle(Finish(cai.id))
        await worker.settled()
        assert await bench.backlog() == (1, 1)
        assert worker.in_flight.used == 0
        assert [entry["log_level"] for entry in logged if entry.get("count") == 1] == ["error"]
        await bench.redis.delete(LAYOUT.dead_letters(bench.app_id, 0))
        await past_the_lease()
        (again,) = await worker.take_over()
        worker.settle(Bury(again.id, Cause.REJECTED, "too large", load_job(again.record)))
        await worker.settled()
        assert await bench.dead_letters() == [(b"rejected", b"too large")]
        assert bench.metric("app_proxy_dead_letters_total", **labels_of(bench, Cause.REJECTED)) == 1

    on_stream(scenario)


@dataclass
class Settling:
    """A consumer of a stream, and the call that carries out its settlements: it fails `failures` times."""

    redis: Any
    app_id: str
    failures: int = 0
    batches: list[list[bytes]] = field(default_factory=list)
    away: list[bytes] = field(default_factory=list)  # what lies on a node that gives no answer

    def __post_init__(self) -> None:
        self.lane = mipush_lane(self.app_id)
        self.consumer = StreamConsumer(
            self.lane,
            queue_of(self.redis),
            Leases(15.0),
            self.carry_out,
            RelayObserver(self.app_id, self.lane),
            in_flight=100,
            block=NO_WAIT,
        )

    async def carry_out(self, settlements: Sequence[Settlement]) -> SettleResult:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise RedisConnectionError
        self.batches.append([settlement.entry_id for settlement in settlements])
        return SettleResult(away=self.away)

    async def claim(self, count: int) -> list[bytes]:
        await queue_of(self.redis).ensure_groups(self.lane)
        await put_jobs(self.redis, self.lane, [Job("main", "mipush", f"u{n}", "", alert()) for n in range(count)])
        return [entry.id for entry in await self.consumer.claim()]


def while_it_settles(store_url: str, app_id: str, scenario: Callable[[Settling], Awaitable[None]]) -> None:
    async def run(redis: Any) -> None:
        settling = Settling(redis, app_id)
        running = asyncio.create_task(settling.consumer.run_settling())
        try:
            async with asyncio.timeout(20):
                await scenario(settling)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    with_redis(store_url, run)


def test_settlements_that_come_together_leave_together_and_in_order(store_url: str, app_id: str) -> None:
    async def scenario(settling: Settling) -> None:
        one, two, three, four = await settling.claim(4)
        settling.consumer.settle(Finish(one))
        settling.consumer.settle(Finish(two))
        await asyncio.sleep(0)
        settling.consumer.settle(Finish(three))
        await settling.consumer.settled()
        settling.consumer.settle(Finish(four))
        await settling.consumer.settled()
        assert settling.batches == [[one, two, three], [four]]

    while_it_settles(store_url, app_id, scenario)


def test_what_comes_while_the_store_is_asked_is_not_forgotten(store_url: str, app_id: str) -> None:
    async def scenario(settling: Settling) -> None:
        ids = await settling.claim(20)
        for id_ in ids:
            settling.consumer.settle(Finish(id_))
            await asyncio.sleep(0.001)
        await settling.consumer.settled()
        assert [id_ for batch in settling.batches for id_ in batch] == ids
        assert settling.consumer.in_flight.used == 0

    while_it_settles(store_url, app_id, scenario)


def test_a_store_that_is_away_is_waited_for_and_until_then_the_entry_is_held_as_decided(
    store_url: str, app_id: str
) -> None:
    async def scenario(settling: Settling) -> None:
        settling.failures = 1
        (id_,) = await settling.claim(1)
        settling.consumer.settle(Finish(id_))
        await asyncio.sleep(0.05)
        assert settling.consumer.in_flight.used == 1
        assert settling.consumer.may_act([id_])  # so it is renewed
        await settling.consumer.settled()
        assert settling.batches == [[id_]]
        assert settling.consumer.in_flight.used == 0

    while_it_settles(store_url, app_id, scenario)


def test_what_lies_on_a_node_that_is_away_is_settled_later_and_holds_up_nothing_else(
    store_url: str, app_id: str
) -> None:
    async def scenario(settling: Settling) -> None:
        one, two, three = await settling.claim(3)
        settling.away = [one]
        for id_ in (one, two):
            settling.consumer.settle(Finish(id_))
        while settling.consumer.in_flight.used > 2:
            await asyncio.sleep(0.001)
        assert settling.consumer.may_act([one])  # so it is renewed
        settling.consumer.settle(Finish(three))
        while settling.consumer.in_flight.used > 1:
            await asyncio.sleep(0.001)
        settling.away = []
        await settling.consumer.settled()
        assert settling.batches[0] == [one, two]
        assert settling.consumer.in_flight.used == 0

    while_it_settles(store_url, app_id, scenario)


def test_with_nothing_to_settle_everything_is_settled_at_once(store_url: str, app_id: str) -> None:
    async def scenario(settling: Settling) -> None:
        await settling.consumer.settled()

    while_it_settles(store_url, app_id, scenario)
