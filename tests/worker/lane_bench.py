"""One lane's worker on a real store, with a provider and clocks that the test sets."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from proxy.domain.decisions import Result
from proxy.domain.delivery import TO_ALL, Delivery
from proxy.domain.devices import Device, LaneRead
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Pause, Route
from proxy.domain.outcomes import Accepted
from proxy.domain.settlements import Settlement, SettleResult
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import load_job
from proxy.store.slots import NodeAway
from proxy.worker.consumer import StreamConsumer
from proxy.worker.conversations import Conversations
from proxy.worker.deliver import Channel, LaneWorker
from proxy.worker.effects import Effects
from proxy.worker.event_loop_watchdog import EventLoopWatchdog
from proxy.worker.lane_control import LaneControl
from proxy.worker.leases import Leases
from proxy.worker.observer import RelayObserver
from tests.store.samples import (
    DAY,
    LAYOUT,
    LEASE,
    MS,
    NO_WAIT,
    NOON,
    SECOND,
    alert,
    device,
    job,
    put_jobs,
    queue_of,
    with_redis,
)
from tests.worker.provider import Keys, ScriptedTransport, ScriptedWire, always

BREAKER = 3
PATIENCE = timedelta(seconds=20)
Logged = list[MutableMapping[str, Any]]
Scenario = Callable[["LaneBench"], Awaitable[None]]
OnLane = Callable[..., None]


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


class Settling(RedisQueue):
    """Counts what it settles; away as long as `fault` is set."""

    fault: Exception | None = None
    settled = 0

    async def settle_jobs(self, lane: Lane, settlements: Sequence[Settlement]) -> SettleResult:
        if self.fault is not None:
            raise self.fault
        self.settled += len(settlements)
        return await super().settle_jobs(lane, settlements)


class Reading(RedisAddresses):
    """Counts what it looks up; cannot read as long as `fault` is set, nor write as long as `deaf` is."""

    fault: Exception | None = None
    deaf: Exception | None = None
    away: Sequence[str] = ()  # accounts whose node of a cluster gives no answer
    looked_up = 0
    questions = 0

    async def destinations(self, lane: Lane, jobs: Sequence[Job]) -> LaneRead:
        if self.fault is not None:
            raise self.fault
        if any(job.account in self.away for job in jobs):
            raise NodeAway
        self.questions += 1
        self.looked_up += len(jobs)
        return await super().destinations(lane, jobs)

    async def remember_unknown(self, lane: Lane, account: str, life: timedelta) -> None:
        if self.deaf is not None:
            raise self.deaf
        await super().remember_unknown(lane, account, life)


class LaneBench:
    """A lane to Mi Push accounts, or to iPhones. `replaces`: alerts of one conversation replace each other."""

    def __init__(
        self,
        redis: Any,
        store: Store,
        lane: Lane,
        logged: Logged,
        *,
        in_flight: int = 100,
        batch_limit: int = 1,
        replaces: bool = False,
        withdraws: bool = False,
        window: timedelta = timedelta(0),
        guard: RemovalGuard | None = None,
        off: Result | None = None,
        delivery: Delivery = TO_ALL,
        instance: str = "worker-1",
        keeps_history: bool = True,
    ) -> None:
        self.redis, self.lane, self.logged = redis, lane, logged
        self.stream = LAYOUT.jobs(lane, 0)
        self.clock, self.now = Clock(), NOON
        self.wire = ScriptedWire(always(Accepted()), batch_limit)
        self.transport = ScriptedTransport(self.clock)
        self.authorization = Keys()
        # the store's own lease is short, so that take-overs need no waiting; ours follows the clock above
        self.queue = Settling(
            redis, instance, lease=MS, dedupe_ttl=DAY, jobs_cap=5000, dead_cap=2000, keeps_history=keeps_history
        )
        app_ids = {"main": lane.app_id}
        self.addresses = Reading(
            redis, app_ids, instance, DeviceRemoval(redis, app_ids, guard), with_withdrawals=withdraws
        )
        self.registry = RedisDeviceRegistry(store, app_ids)
        self.lane_states = RedisLaneStates(redis, instance)
        self.leases = Leases(LEASE.total_seconds(), self.clock)
        self.watchdog = EventLoopWatchdog(self.clock)
        self.accounts: dict[str, str] = {}  # by job id
        observer = RelayObserver(lane.app_id, lane)
        self.consumer = StreamConsumer(
            lane, self.queue, self.leases, partial(self.queue.settle_jobs, lane), observer,
            in_flight=in_flight, block=NO_WAIT,
        )  # fmt: skip
        self.control = LaneControl(
            lane, self.lane_states, self.watchdog, observer,
            breaker_failures=BREAKER, first_probe=SECOND, probe_every=30 * SECOND, probe_lease=LEASE, clock=self.clock,
        )  # fmt: skip
        route = Route(lane, to_account=lane.channel == "mipush")
        self.worker = LaneWorker(
            Channel(
                route,
                self.wire,
                self.transport,
                self.authorization,
                replaces=replaces,
                withdraws=withdraws,
                window=window,
                off=off,
                delivery=delivery,
            ),
            self.consumer,
            self.addresses,
            self.control,
            Conversations(lane, RedisConversationLocks(redis, instance), lock_ttl=LEASE, shown_ttl=DAY),
            Effects(lane, self.addresses, self.control, unknown_account_ttl=DAY, now=lambda: self.now),
            observer,
            backoff=lambda _attempt: SECOND,
            in_flight=in_flight,
            patience=PATIENCE,
            now=lambda: self.now,
            clock=self.clock,
            on_response=lambda _response: None,
        )
        self._loops: list[asyncio.Task[None]] = []

    # the worker's loops

    def start(self) -> None:
        loops = self.worker.run_sending(), self.worker.run_answering(), self.consumer.run_settling()
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def end(self) -> None:
        """Raises what ended a loop: none may end by itself."""
        ended = [loop for loop in self._loops if loop.done()]
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.transport.aclose()
        for loop in ended:
            loop.result()

    async def turn(self) -> None:
        """One claim, to its end."""
        await self.worker.claim()
        await self.worker.drained()

    async def take_over(self) -> None:
        """One look for what other workers left, to its end."""
        await asyncio.sleep(0.005)
        await self.worker.take_over()
        await self.worker.drained()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await asyncio.sleep(0.001)

    def is_sent(self, requests: int) -> bool:
        return len(self.sent) >= requests

    # what goes in

    def job(self, account: str = "ben", **of: Any) -> Job:
        one = job(self.lane, account, "" if self.lane.channel == "mipush" else "phone", alert(**of))
        self.accounts[one.id] = account
        return one

    async def put(self, *jobs: Job | str) -> None:
        """Jobs of the lane; an account's name is a job for it."""
        await self.queue.ensure_groups(self.lane)
        await put_jobs(self.redis, self.lane, [self.job(one) if isinstance(one, str) else one for one in jobs])

    def register(self, *devices: Device) -> None:
        for one in devices:
            self.registry.register(one)

    async def pause(self, **of: Any) -> None:
        """Another worker paused the lane, a probe is due, and this worker has seen it."""
        await RedisLaneStates(self.redis, "another").pause(self.lane, "quota", NOON, NOON + MS, **of)
        await self.look()
        await asyncio.sleep(0.005)

    async def look(self) -> None:
        """As the worker does once a second."""
        asked_at = self.clock()
        self.worker.observe((await self.lane_states.states([self.lane]))[self.lane], asked_at)

    async def next_probe_is_due(self) -> None:
        await self.redis.delete(keys.probe(self.lane))

    async def move_due(self) -> int:
        """What is to be tried again goes back to the lane; returns how many."""
        later = self.now + DAY - SECOND
        return (await queue_of(self.redis).move_due([self.lane], [], later, 2000)).jobs.get(self.lane, 0)

    # what came of it

    @property
    def sent(self) -> list[list[str]]:
        return self.transport.sent

    @property
    def results(self) -> list[tuple[str, str]]:
        """Account and result of what was decided, in order."""
        return [(self.accounts[entry["job_id"]], str(entry["result"])) for entry in self._settled()]

    @property
    def reasons(self) -> list[str]:
        return [entry["reason"] for entry in self._settled()]

    def count(self, result: Result) -> int:
        return sum(entry["result"] == result for entry in self._settled())

    def _settled(self) -> Logged:
        return [entry for entry in self.logged if entry["event"] == "push settled"]

    async def backlog(self) -> tuple[int, int]:
        """Entries of the stream, and how many of them some worker has claimed."""
        pending = await self.redis.xpending(self.stream, keys.GROUP)
        return await self.redis.xlen(self.stream), pending["pending"]

    async def nothing_is_left(self) -> None:
        assert await self.backlog() == (0, 0)
        assert (self.consumer.in_flight.used, self.leases.count()) == (0, 0)

    async def retries(self) -> list[tuple[Job, float]]:
        """What waits for another try, and how many seconds after NOON each is due."""
        found = await self.redis.zrange(LAYOUT.retries(self.lane, 0), 0, -1, withscores=True)
        return [(load_job(record), round(score / 1000 - NOON.timestamp(), 3)) for record, score in found]

    async def dead_letters(self) -> list[bytes]:
        return [fields[b"reason"] for _, fields in await self.redis.xrange(LAYOUT.dead_letters(self.lane.app_id, 0))]

    async def stored_pause(self) -> Pause | None:
        return (await self.lane_states.states([self.lane]))[self.lane].pause


async def _nothing(_: LaneBench) -> None: ...


def on_bench(
    store_url: str,
    store: Store,
    lane: Lane,
    logged: Logged,
    before: Callable[[LaneBench], Awaitable[None]] = _nothing,
) -> OnLane:
    """Runs scenarios on a bench of this lane while the worker's loops run; ben, cai and dan have an iPhone each."""

    def run(scenario: Scenario, **of: Any) -> None:
        async def to_its_end(redis: Any) -> None:
            bench = LaneBench(redis, store, lane, logged, **of)
            if lane.channel != "mipush":
                bench.register(*(device(name, push_token=f"{name}-token") for name in ("ben", "cai", "dan")))
            await before(bench)
            bench.start()
            try:
                async with asyncio.timeout(30):
                    await scenario(bench)
            finally:
                await bench.end()

        with_redis(store_url, to_its_end)

    return run
