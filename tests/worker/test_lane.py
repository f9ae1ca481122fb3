"""A lane at work on a real store: what it takes, what it gives back, when it stands and when it goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from structlog.testing import capture_logs

from proxy.domain.breaker import Breaker
from proxy.domain.jobs import Job, Push
from proxy.domain.lanes import PauseKind, Route
from proxy.domain.outcomes import Accepted, Deferred, OurFault, Outcome, Rejected
from proxy.ports import Owned, Settlement
from proxy.store import keys
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import load_job
from proxy.usecases.deliver import Channel, Delivery, Settled
from proxy.worker.holdings import Holdings
from proxy.worker.lane import LaneWorker
from proxy.worker.standing import Standing
from tests.store.samples import (
    DAY,
    LEASE,
    MS,
    NO_WAIT,
    NOON,
    SECOND,
    alert,
    mipush_lane,
    put_jobs,
    queue_of,
    with_redis,
)
from tests.usecases.provider import Keys, Provider, always


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


class Unsure(RedisQueue):
    """A hand on the store that fails to settle as long as `away`."""

    away = False
    settled = 0

    async def settle_jobs(self, lane: Any, settlements: Sequence[Settlement]) -> list[bytes]:
        if self.away:
            raise RedisConnectionError
        self.settled += len(settlements)
        return await super().settle_jobs(lane, settlements)


class Forgetful(RedisAddresses):
    """Addresses that cannot be read as long as there is a `fault`."""

    fault: RedisError | None = None

    async def unknown(self, lane: Any, accounts: Sequence[str]) -> set[str]:
        if self.fault:
            raise self.fault
        return await super().unknown(lane, accounts)

    async def owned(self, app: str, targets: Sequence[tuple[str, str]]) -> list[Owned | None]:
        raise NotImplementedError


class Bench:
    """One lane worker to accounts, and its provider."""

    def __init__(self, redis: Any, app_id: str, *, in_flight: int = 100) -> None:
        self.redis = redis
        self.lane = mipush_lane(app_id)
        self.stream = keys.jobs(self.lane)
        self.provider = Provider(always(Accepted()), batch_limit=1)
        self.clock = Clock()
        self.holdings = Holdings(LEASE.total_seconds(), self.clock)
        # the store's own lease is short, so that take-overs need no waiting; ours is told by the clock above
        self.queue = Unsure(redis, "worker-1", lease=MS, dedupe_ttl=DAY, jobs_cap=1000, dead_cap=100)
        self.addresses = Forgetful(redis, {"main": app_id}, "worker-1")
        self.lanes = RedisLaneStates(redis)
        self.reported: list[Settled] = []
        self.breaker = Breaker(3)
        self.worker = LaneWorker(
            self.lane, self.queue, self.lanes, self.holdings,
            in_flight=in_flight, block=NO_WAIT, probe_lease=LEASE, breaker=self.breaker,
        )  # fmt: skip
        self.worker.delivery = Delivery(
            channel=Channel(Route(self.lane, to_account=True), self.provider, self.provider, Keys(), replaces=False),
            addresses=self.addresses,
            lanes=self.lanes,
            backoff=lambda _attempt: SECOND,
            now=lambda: NOON,
            settle=self.worker.settle,
            report=self._report,
            line_life=LEASE,
            dedupe_ttl=DAY,
            unknown_account_ttl=DAY,
            probe_every=30 * SECOND,
            first_probe=SECOND,
            breaker=self.breaker,
        )

    def _report(self, settled: Settled) -> None:
        self.worker.noted(settled)
        self.reported.append(settled)

    async def put(self, *accounts: str) -> None:
        await self.queue.ensure_group(self.stream)
        await put_jobs(self.redis, self.lane, [Job("main", "mipush", name, "", alert()) for name in accounts])

    async def turn(self) -> None:
        """One claim, to its end."""
        await self.worker.claim()
        await self.worker.drained()

    async def taken_over(self) -> int:
        """What one round of take-over brings, to its end."""
        await asyncio.sleep(0.005)
        count = await self.worker.take_over()
        await self.worker.drained()
        return count

    async def backlog(self) -> tuple[int, int]:
        """Entries of the stream, and how many of them somebody holds."""
        pending = await self.redis.xpending(self.stream, keys.GROUP)
        return await self.redis.xlen(self.stream), pending["pending"]

    async def waiting(self) -> list[Job]:
        return [load_job(fields[b"r"]) for _, fields in await self.redis.xrange(self.stream)]

    def behind_a_gate(self) -> asyncio.Event:
        """Pushes wait in the transport until it is set."""
        go_on, send = asyncio.Event(), self.provider.send

        class Gate:
            async def send(self, *args: Any) -> Any:
                await go_on.wait()
                return await send(*args)

        channel = replace(self.worker.delivery.channel, transport=Gate())
        self.worker.delivery = replace(self.worker.delivery, channel=channel)
        return go_on

    def covering(self) -> None:
        """From now on alerts of one conversation replace each other, as with Mi Push."""
        channel = replace(self.worker.delivery.channel, replaces=True)
        self.worker.delivery = replace(self.worker.delivery, channel=channel)

    async def dead_letters(self) -> list[bytes]:
        return [fields[b"reason"] for _, fields in await self.redis.xrange(keys.dead_letters(self.lane.app_id))]

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(it.job.account, it.result) for it in self.reported]


OnLane = Callable[..., None]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged; and a traceback for a screen would take a third of a second."""
    with capture_logs() as entries:
        yield entries
    assert "words" not in str(entries)  # of a message


@pytest.fixture
def on_lane(store_url: str, app_id: str) -> OnLane:
    """Runs a scenario while the lane's settlements are carried out."""

    def run(scenario: Callable[[Bench], Awaitable[None]], *, in_flight: int = 100) -> None:
        async def beside_the_settler(redis: Any) -> None:
            bench = Bench(redis, app_id, in_flight=in_flight)
            settling = asyncio.create_task(bench.worker.settler.run())
            try:
                async with asyncio.timeout(10):
                    await scenario(bench)
            finally:
                settling.cancel()
                await asyncio.gather(settling, return_exceptions=True)

        with_redis(store_url, beside_the_settler)

    return run


def test_jobs_are_claimed_pushed_and_settled_and_leave_nothing_behind(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai", "dan")
        await bench.turn()
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "accepted"), ("dan", "accepted")]
        assert await bench.backlog() == (0, 0)
        assert (bench.worker.slots.used, bench.holdings.count()) == (0, 0)

    on_lane(scenario)


def test_no_more_is_read_than_may_be_in_flight(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        go_on = bench.behind_a_gate()
        await bench.put("ben", "cai", "dan")
        await bench.worker.claim()
        waiting = asyncio.create_task(bench.worker.claim())
        await asyncio.sleep(0.02)
        assert await bench.backlog() == (3, 2)
        assert await bench.worker.take_over() == 0
        assert not waiting.done()
        go_on.set()
        await waiting
        await bench.worker.drained()
        assert len(bench.provider.sent) == 3

    on_lane(scenario, in_flight=2)


@pytest.mark.parametrize("where", ["read", "refuse", "build"])
def test_a_surprise_in_the_wire_is_a_dead_letter_and_the_lane_goes_on(on_lane: OnLane, where: str) -> None:
    def surprise(*_args: object) -> Any:
        raise KeyError("a provider's new idea")

    async def scenario(bench: Bench) -> None:
        good = getattr(bench.provider, where)
        setattr(bench.provider, where, surprise)  # a wire with a bug
        await bench.put("ben")
        await bench.turn()
        assert await bench.dead_letters() == [b"internal error: KeyError"]
        assert await bench.backlog() == (0, 0)
        setattr(bench.provider, where, good)
        await bench.put("cai")
        await bench.turn()
        assert bench.results == [("cai", "accepted")]
        assert bench.worker.slots.used == 0

    on_lane(scenario)


def test_a_record_that_nobody_can_read_is_a_dead_letter_and_its_neighbours_go_out(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        await bench.redis.xadd(bench.stream, {"r": '{"v":2}'})
        await bench.turn()
        assert await bench.dead_letters() == [b"unreadable record"]
        assert bench.results == [("ben", "accepted")]
        assert await bench.backlog() == (0, 0)

    on_lane(scenario)


@pytest.mark.parametrize(("earlier", "dead"), [(4, []), (5, [b"poison"])])
def test_what_was_taken_over_five_times_without_an_end_is_poison(
    on_lane: OnLane, earlier: int, dead: list[bytes]
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        await queue_of(bench.redis, "w0").claim(bench.stream, 1, NO_WAIT)
        for n in range(1, earlier + 1):
            await asyncio.sleep(0.003)
            await queue_of(bench.redis, f"w{n}", MS).take_over(bench.stream, 1)
        assert await bench.taken_over() == 1
        assert await bench.dead_letters() == dead
        assert len(bench.provider.sent) == (0 if dead else 1)
        assert await bench.backlog() == (0, 0)

    on_lane(scenario)


@pytest.mark.parametrize("fault", [RedisConnectionError(), OutOfMemoryError(), ResponseError("MISCONF no disk")])
def test_however_long_the_store_is_in_trouble_no_job_becomes_poison_by_it(on_lane: OnLane, fault: RedisError) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        bench.addresses.fault = fault
        for _ in range(10):
            await bench.turn()
            assert await bench.queue.move_due(bench.lane, NOON, 10) == 1
        assert (bench.worker.slots.used, bench.holdings.count()) == (0, 0)
        bench.addresses.fault = None
        await bench.turn()
        assert bench.results == [("ben", "accepted")]
        assert await bench.dead_letters() == []

    on_lane(scenario)


def test_jobs_whose_addresses_cannot_be_read_are_given_back_and_come_again_after_a_lease(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        bench.addresses.fault = ResponseError("WRONGTYPE")
        await bench.turn()
        assert await bench.backlog() == (1, 1)
        assert (bench.worker.slots.used, bench.holdings.count()) == (0, 0)  # so nobody renews it
        bench.addresses.fault = None
        assert await bench.taken_over() == 1
        assert bench.results == [("ben", "accepted")]
        assert await bench.dead_letters() == []

    on_lane(scenario)


def test_a_job_whose_lease_ran_out_is_not_sent_and_given_back(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        await bench.worker.claim()
        bench.clock.now += LEASE.total_seconds()  # we were stopped between claim and push
        await bench.worker.drained()
        assert bench.provider.sent == []
        assert await bench.backlog() == (1, 1)
        assert bench.worker.slots.used == 0
        await asyncio.sleep(0.003)
        assert len(await queue_of(bench.redis, "worker-2", MS).take_over(bench.stream, 10)) == 1

    on_lane(scenario)


def test_a_job_that_was_decided_while_the_store_was_away_is_not_sent_again_when_it_is_taken_over(
    on_lane: OnLane,
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        bench.queue.away = True
        await bench.worker.claim()
        while not bench.reported:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.005)
        assert await bench.worker.take_over() == 1  # from ourselves
        bench.queue.away = False
        await bench.worker.drained()
        assert bench.provider.sent == [["ben"]]
        assert await bench.backlog() == (0, 0)
        assert (bench.worker.slots.used, bench.holdings.count()) == (0, 0)

    on_lane(scenario)


def test_a_fault_of_ours_stops_the_lane_at_once_and_nothing_more_is_read(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        bench.provider.verdict = always(OurFault("InvalidProviderToken"))
        await bench.put("ben")
        await bench.turn()
        assert bench.worker.paused
        await bench.put("cai")
        for _ in range(3):
            await bench.turn()
        assert await bench.taken_over() == 0
        assert bench.provider.sent == [["ben"]]
        assert await bench.backlog() == (1, 0)
        assert await bench.redis.zcard(keys.retries(bench.lane)) == 1
        await bench.queue.move_due(bench.lane, NOON, 10)
        assert await bench.backlog() == (2, 0)  # ben's waits in the lane

    on_lane(scenario)


@pytest.mark.parametrize(("answer", "goes_on"), [
    (Accepted(), True),
    (Rejected("bad device"), True),  # the provider speaks with us again: it judged this one job
    (OurFault("quota"), False),
    (Deferred("busy"), False),
])  # fmt: skip
def test_a_paused_lane_goes_on_when_a_probe_gets_through(on_lane: OnLane, answer: Outcome, goes_on: bool) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai")
        await bench.lanes.pause(bench.lane, "quota", NOON, NOON + MS)
        bench.breaker.is_open = True
        bench.provider.verdict = always(answer)
        await asyncio.sleep(0.005)
        await bench.turn()
        assert len(bench.provider.sent) == 1
        assert bench.worker.paused is not goes_on
        assert bool(await bench.lanes.pauses([bench.lane])) is not goes_on
        await bench.turn()
        assert len(bench.provider.sent) == (2 if goes_on else 1)  # no second probe within 30 s

    on_lane(scenario)


def test_a_probe_may_be_a_job_that_a_dead_worker_left(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben")
        await queue_of(bench.redis, "dead").claim(bench.stream, 1, NO_WAIT)
        await bench.lanes.pause(bench.lane, "quota", NOON, NOON + MS)
        bench.breaker.is_open = True
        await asyncio.sleep(0.005)
        await bench.turn()
        assert bench.results == [("ben", "accepted")]
        assert not bench.worker.paused

    on_lane(scenario)


def test_an_empty_paused_lane_keeps_its_probe_for_the_first_job(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put()
        await bench.lanes.pause(bench.lane, "quota", NOON, NOON + MS)
        bench.breaker.is_open = True
        await asyncio.sleep(0.005)
        await bench.turn()
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "accepted")]

    on_lane(scenario)


def test_only_the_probe_lets_a_lane_go_on_and_no_push_that_was_out_before(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        def first_fails(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
            return [OurFault("quota") if pushes[0].address == "ben" else Accepted()]

        bench.provider.verdict = first_fails
        await bench.put("ben", "cai")
        await bench.turn()
        assert sorted(bench.results) == [("ben", "paused"), ("cai", "accepted")]
        assert bench.worker.paused
        assert await bench.lanes.pauses([bench.lane])

    on_lane(scenario)


def test_while_the_provider_is_out_a_lane_sends_no_more_than_probes_and_no_attempt_counts(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        bench.provider.verdict = always(Deferred("http 503"))
        await bench.put(*(f"user-{n}" for n in range(10)))
        await bench.turn()
        assert len(bench.provider.sent) == 3  # what had not left yet was held back
        records = [load_job(it) for it in await bench.redis.zrange(keys.retries(bench.lane), 0, -1)]
        assert sorted(it.attempt for it in records) == [0] * 8 + [1] * 2  # two failed before it was plain
        await bench.queue.move_due(bench.lane, NOON + SECOND, 100)
        await bench.turn()
        assert len(bench.provider.sent) == 3
        await bench.redis.delete(keys.probe(bench.lane))  # its time is over
        for _ in range(5):
            await bench.turn()
        assert len(bench.provider.sent) == 4
        await bench.queue.move_due(bench.lane, NOON + SECOND, 100)
        assert sorted(it.attempt for it in await bench.waiting()) == [0] * 8 + [1] * 2  # the probe burnt none

    on_lane(scenario)


def test_a_lane_that_goes_on_begins_with_a_few_in_flight_here_and_in_every_other_worker(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put(*(f"user-{n}" for n in range(90)))
        await bench.lanes.pause(bench.lane, "http 503", NOON, NOON + MS, PauseKind.BREAKER)
        bench.breaker.is_open = True
        await asyncio.sleep(0.005)
        await bench.turn()
        claimed = []
        for _ in range(5):
            before = len(bench.provider.sent)
            await bench.turn()
            claimed.append(len(bench.provider.sent) - before)
            bench.clock.now += 1
        assert claimed == [4, 8, 16, 32, 29]  # and not all 89
        other = Standing(bench.lane, Breaker(3), 100, bench.clock)
        state = (await bench.lanes.states([bench.lane]))[bench.lane]
        assert state.resumed is not None
        other.see(state, bench.clock())
        assert other.limit < 16

    on_lane(scenario)


def test_what_the_store_was_asked_before_we_learned_better_does_not_count(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        asked_at, state = bench.clock(), (await bench.lanes.states([bench.lane]))[bench.lane]
        bench.clock.now += 0.1
        bench.provider.verdict = always(OurFault("quota"))
        await bench.put("ben")
        await bench.turn()
        bench.worker.standing.see(state, asked_at)
        assert bench.worker.paused
        bench.worker.standing.see(state, bench.clock())  # somebody let it go on meanwhile
        assert not bench.worker.paused
        assert bench.worker.standing.limit == 4

    on_lane(scenario)


def test_a_probe_that_comes_to_nothing_makes_room_for_the_next_at_once(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("gone", "gone", "ben")
        await bench.addresses.remember_unknown(bench.lane, "gone", DAY)
        await bench.lanes.pause(bench.lane, "quota", NOON, NOON + MS)
        bench.breaker.is_open = True
        await asyncio.sleep(0.005)
        for _ in range(3):
            await bench.turn()
        assert bench.provider.sent == [["ben"]]
        assert not bench.worker.paused

    on_lane(scenario)


def test_a_push_that_waited_long_for_a_connection_is_read_again_before_it_leaves(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        gate = bench.behind_a_gate()
        await bench.put("ben", "cai", "dan")
        await bench.worker.claim()
        await asyncio.sleep(0.02)
        await bench.addresses.remember_unknown(bench.lane, "cai", DAY)
        bench.clock.now += 1.1  # well within the lease
        gate.set()
        await bench.worker.drained()
        assert sorted(bench.provider.sent) == [["ben"], ["dan"]]
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "unknown account"), ("dan", "accepted")]
        assert {it.job.attempt for it in bench.reported} == {0}
        assert await bench.backlog() == (0, 0)
        assert bench.worker.slots.used == 0

    on_lane(scenario)


def test_a_backlog_of_one_conversation_is_a_few_pushes_and_nothing_is_written_twice(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        bench.covering()
        await bench.queue.ensure_group(bench.stream)
        alerts = [alert(f"m{n}", sequence=n) for n in range(1, 1001)]
        await put_jobs(bench.redis, bench.lane, [Job("main", "mipush", "ben", "", it) for it in alerts])
        for _ in range(100):
            await bench.turn()
            if await bench.backlog() == (0, 0):
                break
        results = [it.result for it in bench.reported]
        assert results.count("accepted") + results.count("superseded") == 1000
        assert len(bench.provider.sent) == results.count("accepted") == 10  # one for each claim of 100
        assert bench.queue.settled == 1000
        last = [it.job.alert.order.sequence for it in bench.reported if it.result == "accepted"]
        assert last == sorted(last)
        assert last[-1] == 1000

    on_lane(scenario)


@pytest.mark.parametrize(("invalid_reason", "shown"), [(RedisConnectionError("away"), 2), (KeyError("a bug"), 1)])
def test_what_was_held_back_beside_a_push_that_ends_badly_goes_on_unless_that_one_may_be_shown(
    on_lane: OnLane, invalid_reason: Exception, shown: int
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.covering()
        good = bench.provider.read

        def surprise(*_args: object) -> Any:
            setattr(bench.provider, "read", good)  # noqa: B010  the next answer is an ordinary one
            raise invalid_reason

        setattr(bench.provider, "read", surprise)  # noqa: B010
        await bench.queue.ensure_group(bench.stream)
        alerts = [alert(f"m{n}", sequence=n) for n in (1, 2)]
        await put_jobs(bench.redis, bench.lane, [Job("main", "mipush", "ben", "", it) for it in alerts])
        await bench.worker.claim()
        await asyncio.sleep(0.02)
        for flying in await bench.redis.keys(keys.flying(bench.lane, "*")):
            await bench.redis.delete(flying)  # its life is over
        for _ in range(50):
            await bench.queue.move_due(bench.lane, NOON + 3 * SECOND, 10)
            await bench.turn()
            await bench.taken_over()
            if bench.results:
                break
        assert bench.results[0] == ("ben", "accepted")
        assert bench.reported[0].job.alert.order.sequence == shown
        assert bench.worker.slots.used == 0

    on_lane(scenario)


def test_what_is_abandoned_starts_nothing_more_and_stays_in_the_stream(on_lane: OnLane) -> None:
    """Chaos seed 2026: after its drain a worker's pushes, cancelled, spawned others until its loop was gone."""

    async def scenario(bench: Bench) -> None:
        bench.covering()
        bench.behind_a_gate()
        await bench.queue.ensure_group(bench.stream)
        alerts = [alert(f"m{n}", sequence=n) for n in range(20)]
        await put_jobs(bench.redis, bench.lane, [Job("main", "mipush", "ben", "", it) for it in alerts])
        await bench.worker.claim()
        await asyncio.sleep(0.02)
        before = asyncio.all_tasks()
        await bench.worker.abandon()
        assert asyncio.all_tasks() < before
        assert bench.results == []
        assert await bench.backlog() == (20, 20)

    on_lane(scenario)


def test_a_claim_and_a_takeover_at_one_moment_fill_no_slot_twice(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        gate = bench.behind_a_gate()
        await bench.put("ben", "cai", "dan", "eve")
        await queue_of(bench.redis, "dead").claim(bench.stream, 2, NO_WAIT)
        await asyncio.sleep(0.005)
        await asyncio.gather(bench.worker.take_over(), bench.worker.claim())
        assert bench.worker.slots.used == 2
        gate.set()
        await bench.worker.drained()

    on_lane(scenario, in_flight=2)


def test_a_claim_that_comes_after_another_worker_stopped_the_lane_is_put_back_unsent(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("ben", "cai")
        await RedisLaneStates(bench.redis, "another").pause(bench.lane, "http 503", NOON, NOON + SECOND, PauseKind.REST)
        await bench.turn()
        assert bench.provider.sent == []
        assert bench.worker.paused
        await bench.queue.move_due(bench.lane, NOON, 10)
        assert [it.attempt for it in await bench.waiting()] == [0, 0]

    on_lane(scenario)


def test_a_lane_that_another_worker_let_go_on_is_not_probed_again(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        bench.breaker.is_open = True  # as we still believe
        await bench.put(*(f"user-{n}" for n in range(9)))
        await bench.turn()
        assert bench.provider.sent == []
        assert not bench.worker.paused
        await bench.turn()
        assert len(bench.provider.sent) == 4  # eased in

    on_lane(scenario)


def test_what_a_dead_worker_left_comes_before_what_is_new_in_a_lane_that_is_always_full(on_lane: OnLane) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("left")
        await queue_of(bench.redis, "dead").claim(bench.stream, 1, NO_WAIT)
        await bench.put(*(f"user-{n}" for n in range(6)))
        gate = bench.behind_a_gate()
        await bench.worker.claim()
        await asyncio.sleep(0.005)
        assert await bench.worker.take_over() == 0  # no room
        gate.set()
        await bench.worker.drained()
        await bench.turn()
        assert "left" in [name for name, _ in bench.results]
        assert await bench.worker.take_over() == 1

    on_lane(scenario, in_flight=2)
