"""One app's callbacks at work: claim, plan, and leave what cannot be planned now to a later try."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from redis.exceptions import RedisError

from proxy.domain.dead_letters import Cause
from proxy.domain.offline_messages import OfflineMessage
from proxy.metrics import dead_letters_total
from proxy.ports import Bury, Entry
from proxy.store import keys
from proxy.store.connection import is_the_stores_own
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import UnreadableRecord, load_offline_message
from proxy.usecases.plan_alerts import Planner
from proxy.worker.holdings import Holdings
from proxy.worker.lane import POISON_DELIVERIES
from proxy.worker.settling import Settler
from proxy.worker.slots import Slots

_STORE_AWAY_S = 0.5
_IN_HAND = 64  # plans are short and wait for the store: enough to keep it busy, few enough to share it

log = structlog.get_logger()


class CallbackWorker:
    """Plans one app's callbacks."""

    def __init__(
        self,
        app_id: str,
        planner: Planner,
        queue: RedisQueue,
        holdings: Holdings,
        *,
        now: Callable[[], datetime],
        block: timedelta,
    ) -> None:
        self.stream = keys.callbacks(app_id)
        self.slots = Slots(_IN_HAND)
        self.settler = Settler(
            self.stream,
            lambda batch: queue.settle_callbacks(app_id, batch),
            holdings,
            freed=self.slots.release,
            buried=lambda it: dead_letters_total.labels(app_id, "", "", it.cause).inc(),
        )
        self._planner = planner
        self._queue = queue
        self._holdings = holdings
        self._now = now
        self._block = block
        self._in_hand: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(self) -> None:
        """One round: read what there is room for and start it."""
        count = await self.slots.worth_reading()
        since = self._holdings.clock()
        self._start(await self._queue.claim(self.stream, count, self._block), since)

    async def take_over(self) -> int:
        """Go on with what a dead worker left; returns how many."""
        if self.slots.free <= 0:
            return 0
        since = self._holdings.clock()
        entries = await self._queue.take_over(self.stream, self.slots.free)
        self._start(entries, since)
        return len(entries)

    async def drained(self) -> None:
        """Returns once nothing is in hand."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.settler.empty()

    def _start(self, entries: Sequence[Entry], since: float) -> None:
        self._holdings.take(self.stream, [entry.id for entry in entries], since)
        for entry in entries:
            if entry.id not in self._in_hand:  # else it was taken over from ourselves
                self._in_hand.add(entry.id)
                self.slots.take(1)
                self._spawn(self._plan(entry))

    async def _plan(self, entry: Entry) -> None:
        try:
            message = load_offline_message(entry.record)
        except UnreadableRecord as error:
            log.error("callback cannot be read", error=str(error))
            self._bury(entry, Cause.UNREADABLE, "unreadable callback", entry)
            return
        if entry.deliveries > POISON_DELIVERIES:
            log.error("callback is poison", message_id=message.message_id)
            self._bury(entry, Cause.POISON, "poison callback", message)
            return
        try:
            planned = await self._planned(entry, message)
        except RedisError as error:  # unplanned as it is: somebody takes it over after a lease
            log.warning("callback left for a later try", error=type(error).__name__)
            self._let_go(entry)
        except Exception:
            log.exception("planning failed")
            self._let_go(entry)
        else:
            log.info("callback planned", message_id=message.message_id, jobs=planned)
            self._let_go(entry)

    async def _planned(self, entry: Entry, message: OfflineMessage) -> int:
        """A store in trouble is waited for with the entry in hand: six leases of it would make all callbacks poison."""
        is_known = False
        while True:
            try:
                return await self._planner.plan(entry.id, message, self._now())
            except RedisError as error:
                if not (is_the_stores_own(error) and self._holdings.may_act(self.stream, [entry.id])):
                    raise
                if not is_known:
                    log.warning("planning waits for the store", error=type(error).__name__)
                is_known = True
                await asyncio.sleep(_STORE_AWAY_S)

    def _bury(self, entry: Entry, cause: Cause, reason: str, of: OfflineMessage | Entry) -> None:
        self._in_hand.discard(entry.id)
        self.settler.add(Bury(entry.id, cause, reason, of))

    def _let_go(self, entry: Entry) -> None:
        self._in_hand.discard(entry.id)
        self._holdings.drop(self.stream, [entry.id])
        self.slots.release(1)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
