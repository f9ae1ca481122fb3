"""The worker process: claim, plan or deliver, settle, take over from the dead, finish on SIGTERM."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from proxy.metrics import lost_total, taken_over_total
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue
from proxy.worker.callbacks import CallbackWorker
from proxy.worker.holdings import Holdings
from proxy.worker.lane import LaneWorker
from proxy.worker.settling import Settler
from proxy.worker.stalls import Stalls
from proxy.worker.watch import StoreGuard

_STORE_AWAY_S = 0.5
_CANCEL_AGAIN_S = 0.2
_MOVE_EVERY_S = 0.2
_LOOK_EVERY_S = 1.0
_MOVE_MOST = 500
_LAST_CLAIM_S = 2.0  # a blocking read and a little
_SWEEP_EVERY_S = 600.0

log = structlog.get_logger()
Round = Callable[[], Awaitable[None]]


class StreamWorker(Protocol):
    """What the loops need of whoever works on a stream: lanes and callbacks alike."""

    stream: str
    settler: Settler

    async def claim(self) -> None: ...

    async def take_over(self) -> int: ...

    async def drained(self) -> None: ...


@dataclass(frozen=True)
class Worker:
    """One worker instance. Every loop outlives the store's absence."""

    callbacks: Sequence[CallbackWorker]
    lanes: Sequence[LaneWorker]
    queue: RedisQueue
    lane_states: RedisLaneStates
    holdings: Holdings
    now: Callable[[], datetime]
    heartbeat_s: float
    lease: timedelta
    drain_s: float
    stalls: Stalls
    close: Callable[[], Awaitable[None]]
    watch: StoreGuard
    pauses_known: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Work until SIGTERM or SIGINT; then claim nothing more, finish what is in flight, and leave the rest.

        A loop that ends by a bug ends the worker, after the same drain: whoever supervises it starts another.
        """
        stop = asyncio.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        self.stalls.watch()
        claiming = [asyncio.create_task(self._claim(stop, round_)) for round_ in self._claiming()]
        serving = [asyncio.create_task(_for_ever(round_)) for round_ in self._serving()]
        settling = [asyncio.create_task(it.settler.run()) for it in self._streams()]
        ready()
        told = asyncio.create_task(stop.wait())
        await asyncio.wait([told, *claiming, *serving, *settling], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        log.info("worker drains", in_hand=self.holdings.count())
        await asyncio.wait(claiming, timeout=_LAST_CLAIM_S)  # a read that is cancelled would strand what it brings
        await _cancel(claiming)
        try:
            async with asyncio.timeout(self.drain_s):
                await asyncio.gather(*(it.drained() for it in self._streams()))
        except TimeoutError:
            log.warning("worker leaves work to others", in_hand=self.holdings.count())
            await asyncio.gather(*(it.abandon() for it in self.lanes))
        await _cancel([*serving, *settling])
        self.stalls.end()
        await self.close()
        log.info("worker stopped")
        for task in (*claiming, *serving, *settling):
            if not task.cancelled() and (error := task.exception()):
                raise error

    def _streams(self) -> list[StreamWorker]:
        return [*self.callbacks, *self.lanes]

    def _claiming(self) -> list[Round]:
        rounds = [it.claim for it in self._streams()]
        return [*rounds, self._take_over, self._move_due]

    def _serving(self) -> list[Round]:
        return [self._renew, self._look_for_pauses, self._sweep, self._watch]

    async def _claim(self, stop: asyncio.Event, round_: Round) -> None:
        await self.watch.admitted.wait()
        await self.pauses_known.wait()  # else a worker would begin with hundreds of pushes of a lane that stands
        await _until(stop, round_)

    async def _renew(self) -> None:
        lost = await self.holdings.renew(self.queue.renew)
        if lost:
            lost_total.inc(lost)
            log.warning("leases lost", count=lost)
        await asyncio.sleep(self.heartbeat_s)

    async def _take_over(self) -> None:
        counts = await asyncio.gather(*(it.take_over() for it in self._streams()), return_exceptions=True)
        taken = sum(it for it in counts if isinstance(it, int))
        if taken:
            taken_over_total.inc(taken)
            log.warning("entries taken over", count=taken)
        for it in counts:
            if isinstance(it, BaseException):
                raise it
        await asyncio.sleep(min(1.0, self.lease.total_seconds() / 5))

    async def _move_due(self) -> None:
        for it in self.lanes:
            await self.queue.move_due(it.lane, self.now(), _MOVE_MOST)
        await asyncio.sleep(_MOVE_EVERY_S)

    async def _sweep(self) -> None:
        for it in self._streams():
            await self.queue.forget_instances(it.stream)
        await asyncio.sleep(_SWEEP_EVERY_S)

    async def _watch(self) -> None:
        await self.watch.look(self.now())
        await asyncio.sleep(_LOOK_EVERY_S)

    async def _look_for_pauses(self) -> None:
        asked_at = self.holdings.clock()
        states = await self.lane_states.states([it.lane for it in self.lanes])
        for it in self.lanes:
            it.standing.see(states[it.lane], asked_at)
        self.pauses_known.set()
        await asyncio.sleep(_LOOK_EVERY_S)


async def _until(stop: asyncio.Event, round_: Round) -> None:
    away = False
    while not stop.is_set():
        away = await _one(round_, away)


async def _for_ever(round_: Round) -> None:
    away = False
    while True:
        away = await _one(round_, away)


async def _one(round_: Round, was_away: bool) -> bool:
    """One round; True where the store did not answer, which is said once and waited for."""
    try:
        await round_()
    except RedisError as error:
        if not was_away:
            log.warning("the store does not answer, waiting", error=type(error).__name__)
        await asyncio.sleep(_STORE_AWAY_S)
        return True
    return False


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended: Python 3.11's wait_for, by which redis-py sends, may swallow it once."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
