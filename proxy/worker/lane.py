"""One lane at work: claim what there is room for, push it, settle it; stand still while the lane is paused."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any

import structlog
from redis.exceptions import RedisError

from proxy.domain.jobs import Push
from proxy.domain.lanes import Lane
from proxy.domain.letters import Cause
from proxy.metrics import dead_letters_total
from proxy.ports import Bury, Entry, Postpone, Settlement
from proxy.store import keys
from proxy.store.connection import is_the_stores_own
from proxy.store.lanes import RedisLanes
from proxy.store.queue import RedisQueue
from proxy.store.records import UnreadableRecord, load_job
from proxy.usecases.deliver import Delivery, Held, Settled
from proxy.worker.holdings import Holdings
from proxy.worker.settling import Settler
from proxy.worker.slots import Slots

POISON_DELIVERIES = 6  # claimed once, taken over five times
_CLAIM_MOST = 500

log = structlog.get_logger()


class LaneWorker:
    """Delivers one lane's jobs. `paused` is set from the store by whoever looks for all lanes."""

    def __init__(
        self,
        lane: Lane,
        queue: RedisQueue,
        lanes: RedisLanes,
        holdings: Holdings,
        *,
        in_flight: int,
        block: timedelta,
        probe_every: timedelta,
    ) -> None:
        self.lane = lane
        self.stream = keys.jobs(lane)
        self.paused = False
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
        self._probe_every = probe_every
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(self) -> None:
        """One round: read what there is room for and start it. Waits where there is nothing to do."""
        if self.paused:
            await self._probe()
            return
        count = await self.slots.worth_reading()
        since = self._holdings.clock()
        self._start(await self._queue.claim(self.stream, min(count, _CLAIM_MOST), self._block), since)

    async def take_over(self) -> int:
        """Go on with what a dead worker left; returns how many."""
        if self.paused or self.slots.free <= 0:
            return 0
        since = self._holdings.clock()
        entries = await self._queue.take_over(self.stream, min(self.slots.free, _CLAIM_MOST))
        self._start(entries, since)
        return len(entries)

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
        """The lane pauses here at once, elsewhere as soon as the others have read it."""
        if settled.result == "paused":
            if not self.paused:
                log.error("lane paused", app=self.lane.app, channel=self.lane.channel, reason=settled.reason)
            self.paused = True

    async def _probe(self) -> None:
        """While the lane stands one job goes out now and then; if it gets through the lane goes on."""
        if self.slots.used or not await self._queue.length(self.stream):
            await asyncio.sleep(self._block.total_seconds())
        elif await self._lanes.may_probe(self.lane, self._probe_every):
            since = self._holdings.clock()
            entries = await self._queue.claim(self.stream, 1, self._block)
            entries = entries or await self._queue.take_over(self.stream, 1)  # all of them may be a dead worker's
            self._start(entries, since, probing=True)
        else:
            await asyncio.sleep(self._block.total_seconds())

    def _start(self, entries: Sequence[Entry], since: float, *, probing: bool = False) -> None:
        self._holdings.take(self.stream, [entry.id for entry in entries], since)
        new = [entry for entry in entries if not self._has(entry)]
        if not new:
            return
        self.slots.take(len(new))
        self._open.update(entry.id for entry in new)
        held = [it for entry in new if (it := self._readable(entry)) is not None]
        self._spawn(self._deliver(held, probing=probing))

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
        try:
            batches = await self.delivery.ready(held)
        except RedisError as error:
            if is_the_stores_own(error):
                self._wait_for_the_store(held, error)
            else:
                self._give_back([it.entry_id for it in held], type(error).__name__)
        except Exception as error:  # noqa: BLE001  one that escapes a job makes it a dead letter, and the loop goes on
            self._bury_open(held, error)
        else:
            for batch in batches:
                self._spawn(self._push(batch, probing=probing))

    async def _push(self, batch: Sequence[tuple[Held, Push]], *, probing: bool) -> None:
        held = [it for it, _ in batch]
        ids = [it.entry_id for it in held]

        def may_send() -> bool:
            return (probing or not self.paused) and self._holdings.may_act(self.stream, ids)

        try:
            settled = await self.delivery.push(batch, may_send)
        except RedisError as error:
            self._give_back(ids, type(error).__name__)
        except Exception as error:  # noqa: BLE001  see above
            self._bury_open(held, error)
        else:
            self._put_aside([it for it in held if it.entry_id in self._open])
            if probing and settled:
                await self._probed(settled)

    async def _probed(self, settled: Sequence[Settled]) -> None:
        if any(it.result in ("paused", "retry") for it in settled):
            return
        try:
            await self._lanes.resume(self.lane)
        except RedisError:  # the next probe says it again
            return
        self.paused = False
        log.info("lane goes on", app=self.lane.app, channel=self.lane.channel)

    def _put_aside(self, unsent: Sequence[Held]) -> None:
        """They may not leave: the lane stands, and they wait with it; or their lease is lost."""
        if self.paused:
            for it in unsent:
                self.settle(Postpone(it.entry_id, it.job, self.delivery.now()))
        elif unsent:
            self._give_back([it.entry_id for it in unsent], "lease lost")

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
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
