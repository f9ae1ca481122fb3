"""The worker process: the loops of its consumers, what it does now and then, and its end on SIGTERM.

Every loop outlives the store's absence. A loop that ends by a bug ends the worker, after the same drain: a supervisor
starts another.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog
from redis.exceptions import RedisError, ResponseError

from proxy import metrics
from proxy.store.queue.history import HistorySweep
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.mark_sizes import MarkSizes
from proxy.store.queue.streams import RedisQueue
from proxy.store.server.clocks import StoreClock
from proxy.store.server.worker_states import WorkerStates
from proxy.store.troubles import is_the_stores_own
from proxy.worker.consumer import StreamConsumer
from proxy.worker.deliver import LaneWorker
from proxy.worker.event_loop_watchdog import EventLoopWatchdog
from proxy.worker.figures import CountedFigures
from proxy.worker.forwarding import WebhookWorker
from proxy.worker.leases import Leases
from proxy.worker.plan import PlanWorker
from proxy.worker.readiness import Readiness
from proxy.worker.store_monitor import StoreMonitor
from proxy.worker.store_outage import StoreOutage
from proxy.worker.tasks import cancel_all

_STORE_AWAY_S = 0.5
_MOVE_EVERY_S = 1.0
_MOVE_MOST = 500
_LOOK_EVERY_S = 1.0
_LAST_CLAIM_S = 2.0  # a blocking read and a little
_SWEEP_EVERY_S = 600.0
_SWEEP_HISTORY_EVERY_S = 60.0
_FILE_HISTORY_EVERY_S = 10.0
_KEEP_FIGURES_EVERY_S = 5.0

log = structlog.get_logger()
Round = Callable[[], Awaitable[None]]


class StreamWorker(Protocol):
    """A plan or a lane."""

    consumer: StreamConsumer

    async def claim(self) -> None: ...

    async def claim_rest(self) -> None: ...

    async def take_over(self) -> None: ...

    async def drained(self) -> None: ...

    async def abandon(self) -> None: ...


@dataclass(frozen=True)
class Worker:
    """One worker instance. `share`: the shards that it serves, as the settings name them; "": all."""

    plans: Sequence[PlanWorker]
    lanes: Sequence[LaneWorker]
    webhooks: Sequence[WebhookWorker]
    queue: RedisQueue
    lane_states: RedisLaneStates
    leases: Leases
    clock: StoreClock
    states: WorkerStates
    history: HistorySweep
    mark_sizes: MarkSizes
    figures: CountedFigures | None  # None: the console, which shows them, is off
    readiness: Readiness
    monitor: StoreMonitor
    outage: StoreOutage
    watchdog: EventLoopWatchdog
    share: str
    heartbeat: timedelta
    lease: timedelta
    drain: timedelta
    close: Callable[[], Awaitable[None]]
    pauses_known: asyncio.Event = field(default_factory=asyncio.Event)
    broken: set[str] = field(default_factory=set)  # keys of waiting work that the store cannot use

    @property
    def _workers(self) -> list[StreamWorker]:
        return [*self.plans, *self._lanes]

    @property
    def _lanes(self) -> list[LaneWorker | WebhookWorker]:
        return [*self.lanes, *self.webhooks]

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Work until SIGTERM or SIGINT; then claim nothing more, finish what is in flight, and leave the rest."""
        stop, never = asyncio.Event(), asyncio.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        self.watchdog.start()
        claiming = [asyncio.create_task(self._claim(stop, round_)) for round_ in self._claiming()]
        serving = [asyncio.create_task(_Loop(it, self.outage).until(never)) for it in (self._monitor, self._report)]
        serving += [asyncio.create_task(self._serve(never, round_)) for round_ in self._serving()]
        serving += [
            asyncio.create_task(loop) for lane in self.lanes for loop in (lane.run_sending(), lane.run_answering())
        ]
        serving += [asyncio.create_task(worker.consumer.run_settling()) for worker in self._workers]
        ready()
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *claiming, *serving], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        for lane in self._lanes:
            lane.close()
        log.info("worker drains", in_flight=self.leases.count())
        if self.pauses_known.is_set():  # else none has begun; a read that is cancelled would strand what it brings
            await asyncio.wait(claiming, timeout=_LAST_CLAIM_S)
        await cancel_all(claiming)
        try:
            async with asyncio.timeout(self.drain.total_seconds()):
                await self._claim_rest()
                await asyncio.gather(*(worker.drained() for worker in self._workers))
                with suppress(RedisError):
                    await self._add_figures()
        except TimeoutError:
            log.warning("worker leaves work to others", in_flight=self.leases.count())
            await asyncio.gather(*(worker.abandon() for worker in self._workers))
        await cancel_all(serving)
        self.watchdog.stop()
        await self.close()
        log.info("worker stopped")
        for task in (*claiming, *serving):
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _claim_rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_CLAIM_S):
                await self.queue.reads_ended()
        for error in await asyncio.gather(*(it.claim_rest() for it in self._workers), return_exceptions=True):
            if error is not None and not isinstance(error, RedisError):  # what the store keeps back is taken over
                raise error

    def _claiming(self) -> list[Round]:
        return [*(worker.claim for worker in self._workers), self._take_over, self._move_due]

    def _serving(self) -> list[Round]:
        figures = [self._keep_figures] if self.figures else []
        return [self._renew, self._look_for_pauses, self._sweep, self._file_history, self._sweep_history, *figures]

    async def _claim(self, stop: asyncio.Event, round_: Round) -> None:
        await self.monitor.admitted.wait()
        await self.pauses_known.wait()  # else a worker would begin with hundreds of pushes of a paused lane
        await _Loop(round_, self.outage).until(stop)

    async def _serve(self, stop: asyncio.Event, round_: Round) -> None:
        await self.monitor.admitted.wait()  # by then it is known where the store's keys lie
        await _Loop(round_, self.outage).until(stop)

    async def _renew(self) -> None:
        if lost := await self.leases.renew(self.queue.renew):
            log.warning("leases could not be renewed", count=lost)  # each is counted where its job ends here
        await asyncio.sleep(self.heartbeat.total_seconds())

    async def _take_over(self) -> None:
        """One question for all sources; then only those are asked again in which a worker left something."""
        workers = {worker.consumer.source: worker for worker in self._workers}
        left = await self.queue.abandoned(list(workers))
        await asyncio.gather(*(workers[source].take_over() for source in left))  # each waits for a read that blocks
        await asyncio.sleep(min(1.0, self.lease.total_seconds() / 5))

    async def _move_due(self) -> None:
        """Retries that are due go back to their lanes, at the moment when the next one is due."""
        app_ids = sorted({lane.lane.app_id for lane in self.lanes})
        lanes = [lane.lane for lane in self._lanes]
        now = self.clock.now()
        moved = await self.queue.move_due(lanes, app_ids, now, _MOVE_MOST)
        for key in moved.errors.keys() - self.broken:
            log.error("waiting work cannot be moved", key=key, error=moved.errors[key])
        self.broken.clear()
        self.broken.update(moved.errors)
        wait_s = (moved.next_due_at - now).total_seconds() if moved.next_due_at else _MOVE_EVERY_S
        await asyncio.sleep(min(max(wait_s, 0.01), _MOVE_EVERY_S))

    async def _sweep(self) -> None:
        for worker in self._workers:
            with suppress(ResponseError):  # a broken stream, which its own loop reports
                await self.queue.remove_instances(worker.consumer.source)
        await self.mark_sizes.look(self.clock.now())
        await asyncio.sleep(_SWEEP_EVERY_S)

    async def _file_history(self) -> None:
        await asyncio.sleep(_FILE_HISTORY_EVERY_S)
        metrics.history_lost_total.inc(await self.history.file(self.clock.now()))

    async def _sweep_history(self) -> None:
        await asyncio.sleep(_SWEEP_HISTORY_EVERY_S)
        await self.history.sweep(self.clock.now())

    async def _keep_figures(self) -> None:
        await asyncio.sleep(_KEEP_FIGURES_EVERY_S)
        await self._add_figures()

    async def _add_figures(self) -> None:
        if self.figures:
            await self.figures.keep(self.clock.now())

    async def _monitor(self) -> None:
        await self.clock.measure()
        self.monitor.clock.measured("store", -self.clock.offset)
        await self.monitor.look(self.clock.now())
        self.queue.check_share()
        await asyncio.sleep(_LOOK_EVERY_S)

    async def _look_for_pauses(self) -> None:
        asked_at = self.leases.clock()
        await self.queue.look_at_caps([lane.lane for lane in self.lanes])
        states = await self.lane_states.states([lane.lane for lane in self._lanes])
        for lane in self._lanes:
            lane.observe(states[lane.lane], asked_at)
        self.pauses_known.set()
        await asyncio.sleep(_LOOK_EVERY_S)

    async def _report(self) -> None:
        stalls = {f"{lane.lane.app}/{lane.lane.channel}": lane.stall() for lane in self._lanes}
        if self.watchdog.was_late():
            stalls = {name: why and "this process gets too little processor time" for name, why in stalls.items()}
        state = self.readiness.take(stalls)
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            await self.states.write(self.readiness.instance, state, self.clock.now(), self.share)
        except RedisError:
            self.readiness.store_answers = False
            raise
        self.readiness.store_answers = True


@dataclass
class _Loop:
    """Rounds that outlive the store's absence, which is told once for all loops."""

    round: Round
    outage: StoreOutage
    was_refused: bool = False

    async def until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._one()

    async def _one(self) -> None:
        try:
            await self.round()
        except RedisError as error:
            if is_the_stores_own(error):
                self.outage.failed(error)
            elif not self.was_refused:
                log.warning("the store refuses a command of ours, waiting", error=type(error).__name__)
                self.was_refused = True
            await asyncio.sleep(_STORE_AWAY_S)
        else:
            self.outage.answered()
            self.was_refused = False
