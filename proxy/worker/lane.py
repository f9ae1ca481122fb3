"""One lane at work: claim what there is room for, push it, settle it; stand still while the lane is paused."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from redis.exceptions import RedisError

from proxy.domain.breaker import Breaker
from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Push
from proxy.domain.lanes import Lane
from proxy.metrics import dead_letters_total
from proxy.ports import Bury, Entry, Postpone, Settlement
from proxy.store import keys
from proxy.store.connection import is_the_stores_own
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import UnreadableRecord, load_job
from proxy.usecases.deliver import Delivery, Settled
from proxy.usecases.lines import Held
from proxy.worker.holdings import Holdings
from proxy.worker.settling import Settler
from proxy.worker.slots import Slots
from proxy.worker.standing import Standing

POISON_DELIVERIES = 6  # claimed once, taken over five times
_CLAIM_MOST = 500
_CANCEL_AGAIN_S = 0.2
# so long an address that was read may be used: a phone that changes hands is asked for again before this is over, and
# one worker reads no more than a claim's worth a second however long its pushes wait for a connection
_FRESH_S = 1.0
_GATHER_S = 0.005
_LOOK_S = 0.05  # a claim asks whether the lane stands, under load not each of them

log = structlog.get_logger()


class LaneWorker:
    """Delivers one lane's jobs. `standing` hears from whoever looks into the store for all lanes.

    `probe_lease` is longer than a probe may take.
    """

    def __init__(
        self,
        lane: Lane,
        queue: RedisQueue,
        lanes: RedisLaneStates,
        holdings: Holdings,
        *,
        in_flight: int,
        block: timedelta,
        probe_lease: timedelta,
        breaker: Breaker,
    ) -> None:
        self.lane = lane
        self.stream = keys.jobs(lane)
        self.standing = Standing(lane, breaker, in_flight, holdings.clock)
        self.slots = Slots(in_flight)
        self.settler = Settler(
            self.stream,
            lambda batch: queue.settle_jobs(lane, batch),
            holdings,
            freed=self.slots.release,
            buried=lambda it: dead_letters_total.labels(lane.app_id, lane.app, lane.channel, it.cause).inc(),
        )
        self._open: set[bytes] = set()  # claimed, and nothing decided yet
        self.delivery: Delivery  # set by the wiring: it settles and reports through this object
        self._queue = queue
        self._lanes = lanes
        self._holdings = holdings
        self._block = block
        self._probe_lease = probe_lease
        self._in_flight = in_flight
        self._is_heir, self._inherited = False, 0
        self._reading = asyncio.Lock()  # or a claim and a takeover would fill the same free slots
        self._stale: list[Held] = []
        self._looked_at = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._abandoned = False

    @property
    def paused(self) -> bool:
        return self.standing.paused

    async def claim(self) -> None:
        """One round: read what there is room for and start it. Waits where there is nothing to do."""
        if self.paused:
            await self._probe()
            return
        self._make_room()
        await self.slots.worth_reading()
        async with self._reading:
            await self._inherit()
            if self.paused or self.slots.free <= 0:
                return
            since = self._holdings.clock()
            self._start(await self._queue.claim(self.stream, min(self.slots.free, _CLAIM_MOST), self._block), since)

    async def take_over(self) -> int:
        """Go on with what a dead worker left; returns how many since it was asked last.

        Where there is no room the next claim does it first: else a busy lane would never have any.
        """
        self._is_heir = True
        self._make_room()
        if not self.paused and self.slots.free > 0:
            async with self._reading:
                await self._inherit()
        inherited, self._inherited = self._inherited, 0
        return inherited

    async def _inherit(self) -> None:
        most = min(self.slots.free, _CLAIM_MOST)
        if not self._is_heir or self.paused or most <= 0:
            return
        since = self._holdings.clock()
        entries = await self._queue.take_over(self.stream, most)
        self._is_heir = len(entries) == most  # there may be more
        self._inherited += len(entries)
        self._start(entries, since)

    async def abandon(self) -> None:
        """Stop in the middle: whoever takes over after a lease what is not decided goes on."""
        self._abandoned = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=_CANCEL_AGAIN_S)

    def settle(self, settlement: Settlement) -> None:
        """What becomes of an entry is decided: once, and the store hears of it soon."""
        if settlement.entry_id in self._open:
            self._open.discard(settlement.entry_id)
            self.settler.add(settlement)

    async def drained(self) -> None:
        """Returns once nothing is in flight and everything is settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.settler.empty()

    def noted(self, settled: Settled) -> None:
        """What became of a push, as the delivery reports it."""
        if settled.result == "paused":
            self.standing.stopped(settled)

    async def look(self) -> None:
        """Ask the store how the lane stands."""
        asked_at = self._looked_at = self._holdings.clock()
        self.standing.see((await self._lanes.states([self.lane]))[self.lane], asked_at)

    async def _probe(self) -> None:
        """While the lane stands one job goes out now and then; if it gets through the lane goes on."""
        await self.look()
        if not self.paused:
            return
        if self.slots.used or not await self._queue.length(self.stream):
            await asyncio.sleep(self._block.total_seconds())
        elif await self._lanes.may_probe(self.lane, self._probe_lease):
            since = self._holdings.clock()
            entries = await self._queue.claim(self.stream, 1, self._block)
            entries = entries or await self._queue.take_over(self.stream, 1)  # all of them may be a dead worker's
            if not self._start(entries, since, probing=True):
                await self._lanes.withdraw_probe(self.lane)
        else:
            await asyncio.sleep(self._block.total_seconds())

    def _start(self, entries: Sequence[Entry], since: float, *, probing: bool = False) -> bool:
        """False where none of the entries was new to us."""
        self._holdings.take(self.stream, [entry.id for entry in entries], since)
        new = [entry for entry in entries if not self._has(entry)]
        if not new:
            return False
        self.slots.take(len(new))
        self._open.update(entry.id for entry in new)
        held = [it for entry in new if (it := self._readable(entry)) is not None]
        self._spawn(self._deliver(held, probing=probing))
        return True

    def _make_room(self) -> None:
        """What is held back beside another is not under way: after an outage it need not wait for its turn."""
        self.slots.allow(self.standing.limit + min(self.delivery.lines.held_back, self._in_flight))

    def _has(self, entry: Entry) -> bool:
        """It was taken over from ourselves: it is in flight still, or decided while the store was away."""
        return entry.id in self._open or self.settler.has(entry.id)

    def _readable(self, entry: Entry) -> Held | None:
        try:
            job = load_job(entry.record)
        except UnreadableRecord as error:
            log.error("job cannot be read", error=str(error))
            self.settle(Bury(entry.id, Cause.UNREADABLE, "unreadable record", entry))
            return None
        if entry.deliveries > POISON_DELIVERIES:
            log.error("job is poison", job_id=job.id, app=job.app, channel=job.channel)
            self.settle(Bury(entry.id, Cause.POISON, "poison", job))
            return None
        return Held(entry.id, job)

    async def _deliver(self, held: Sequence[Held], *, probing: bool) -> None:
        read_at = self._holdings.clock()
        batches = list[list[tuple[Held, Push]]]()
        try:
            if not probing and await self._stands():
                self._put_aside(held)
                return
            batches = await self.delivery.ready(held)
        except RedisError as error:
            if is_the_stores_own(error):
                self._wait_for_the_store(held, error)
            else:
                self._give_back([it.entry_id for it in held], type(error).__name__)
        except Exception as error:  # noqa: BLE001  one that escapes a job makes it a dead letter, and the loop goes on
            self._bury_open(held, error)
        self._make_room()
        for batch in batches:
            self._spawn(self._push(batch, read_at, probing=probing))
        if probing and not batches:
            await self._probed([])

    async def _stands(self) -> bool:
        """What others learned of the lane counts at once, not only when all lanes are looked at next."""
        if not self.paused and self._holdings.clock() - self._looked_at > _LOOK_S:
            self._looked_at = self._holdings.clock()
            if await self._lanes.stands(self.lane):
                await self.look()
        return self.paused

    async def _push(self, batch: Sequence[tuple[Held, Push]], read_at: float, *, probing: bool) -> None:
        held = [it for it, _ in batch]
        ids = [it.entry_id for it in held]

        def may_send() -> bool:
            is_fresh = self._holdings.clock() - read_at < _FRESH_S
            return is_fresh and (probing or not self.paused) and self._holdings.may_act(self.stream, ids)

        settled = list[Settled]()
        try:
            settled = await self.delivery.push(batch, may_send)
        except RedisError as error:
            self._give_back(ids, type(error).__name__)
        except Exception as error:  # noqa: BLE001  see above
            self._bury_open(held, error)
            with suppress(RedisError):  # it hears of it later
                await self.delivery.give_up(batch)
        self._put_aside([*(it for it in held if it.entry_id in self._open), *self.delivery.part(batch, settled)])
        if probing:
            await self._probed(settled)

    async def _probed(self, settled: Sequence[Settled]) -> None:
        """Tell all workers what came of a probe; the delivery has done so where the lane is to stand on."""
        try:
            if not settled:
                await self._lanes.withdraw_probe(self.lane)
            elif all(it.result != "paused" for it in settled):
                if await self._lanes.resume(self.lane):
                    self.standing.goes_on()
                else:  # by another's probe
                    await self.look()
        except RedisError as error:  # another probe says it again
            log.warning("the end of a probe is not told", app=self.lane.app, error=type(error).__name__)

    def _put_aside(self, unsent: Sequence[Held]) -> None:
        """They did not leave: the lane stands, and they wait with it; their lease is lost; or they are read again."""
        if self.paused:
            for it in unsent:
                self.settle(Postpone(it.entry_id, it.job, self.delivery.now()))
            return
        lost = [it.entry_id for it in unsent if not self._holdings.may_act(self.stream, [it.entry_id])]
        if lost:
            self._give_back(lost, "lease lost")
        if again := [it for it in unsent if it.entry_id in self._open]:
            if not self._stale:
                self._spawn(self._read_again())
            self._stale += again

    async def _read_again(self) -> None:
        """Ready once more, in one go, what waited too long since its address was read, or was held back in vain."""
        await asyncio.sleep(_GATHER_S)
        held, self._stale = self._stale, []
        await self._deliver(held, probing=False)

    def _wait_for_the_store(self, unsent: Sequence[Held], error: RedisError) -> None:
        """They go back as new entries once it takes them: being taken over again and again would make them poison."""
        log.warning("jobs wait for the store", app=self.lane.app, channel=self.lane.channel, error=type(error).__name__)
        for it in unsent:
            self.settle(Postpone(it.entry_id, it.job, self.delivery.now()))

    def _give_back(self, ids: Sequence[bytes], why: str) -> None:
        """Nothing is decided and nothing renewed: whoever takes them over after a lease tries again."""
        undecided = [id_ for id_ in ids if id_ in self._open]
        log.warning("jobs left for a later try", app=self.lane.app, channel=self.lane.channel, why=why)
        self._open.difference_update(undecided)
        self._holdings.drop(self.stream, undecided)
        self.slots.release(len(undecided))

    def _bury_open(self, held: Sequence[Held], error: Exception) -> None:
        reason = f"internal error: {type(error).__name__}"
        log.exception("delivery failed", app=self.lane.app, channel=self.lane.channel)
        for it in held:
            self.settle(Bury(it.entry_id, Cause.INTERNAL, reason, it.job))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._abandoned:  # what is cancelled starts nothing more
            coroutine.close()
            return
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
