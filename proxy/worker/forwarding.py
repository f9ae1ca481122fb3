"""Callbacks to one webhook: the same claims, leases, pauses and probes as a lane of pushes, and a request for each.

    claim -> a place on the wire -> is it still ours, and in time? -> send -> outcome -> decision (pure) -> settle

One that is claimed waits here for its place and is settled here, in a task of its own. They overtake each other: a
receiver that needs an order has MIMC's sequence in the body.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from redis.exceptions import RedisError

from proxy.channels.webhooks.wire import WebhookWire
from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import Backoff, Result
from proxy.domain.forwards import Forward
from proxy.domain.lanes import Lane, StoredLane
from proxy.domain.outcomes import About, Deferred
from proxy.domain.settlements import Bury, Entry
from proxy.domain.transfers import FailureKind, Response, TransportFailure
from proxy.domain.webhooks import ForwardDecision, decide_forward, expired, put_back
from proxy.ports import Transport
from proxy.store.records import UnreadableRecord, load_forward
from proxy.worker.consumer import POISON_DELIVERIES, StreamConsumer
from proxy.worker.lane_control import LaneControl
from proxy.worker.observer import RelayObserver
from proxy.worker.tasks import Tasks

_PROBE_CLAIM = 50
_EXPIRE_EVERY_S = 60.0
# a kept connection may have been closed just then
_WORTH_ANOTHER = frozenset({FailureKind.BROKEN, FailureKind.UNREACHABLE})

log = structlog.get_logger()


@dataclass(frozen=True)
class _Claimed:
    entry_id: bytes
    forward: Forward


class WebhookWorker:
    """One endpoint. `stall` reports no progress for `patience` although work waits."""

    def __init__(
        self,
        lane: Lane,
        wire: WebhookWire,
        transport: Transport,
        consumer: StreamConsumer,
        control: LaneControl,
        observer: RelayObserver,
        *,
        backoff: Backoff,
        in_flight: int,
        patience: timedelta,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self.lane, self.consumer = lane, consumer
        self._wire, self._transport, self._control, self._observer = wire, transport, control, observer
        self._backoff, self._in_flight, self._patience_s = backoff, in_flight, patience.total_seconds()
        self._now, self._clock = now, clock
        self._tasks = Tasks()
        self._is_closing = False
        self._progress_at, self._expired_at = clock(), clock()
        self._trouble = ""

    def use(self, wire: WebhookWire) -> None:
        """From now on: a secret has changed."""
        self._wire = wire

    # claiming

    async def claim(self) -> None:
        """One round: claim what there is room for. Waits where there is nothing to do."""
        if self._control.is_paused:
            await self._look_while_paused()
            return
        self.consumer.in_flight.allow(self._control.in_flight(self._in_flight))
        await self.consumer.in_flight.worth_reading()
        if not self._control.is_paused:
            self._begin(self._read(await self.consumer.claim()))

    async def claim_rest(self) -> None:
        """The last round: what was read and not claimed goes back."""
        self._begin(self._read(await self.consumer.claim_rest()))

    async def take_over(self) -> None:
        """Go on with what a dead worker left."""
        if not self._control.is_paused:
            self._begin(self._read(await self.consumer.take_over()))

    def _begin(self, claimed: Sequence[_Claimed]) -> None:
        for one in claimed:
            self._tasks.start(self._deliver(one))

    def _read(self, entries: Sequence[Entry]) -> list[_Claimed]:
        claimed = list[_Claimed]()
        for entry in entries:
            try:
                forward = load_forward(entry.record)
            except UnreadableRecord as error:
                log.error("what is for a webhook cannot be read", app=self.lane.app, error=str(error))
                self.consumer.settle(Bury(entry.id, Cause.UNREADABLE, "unreadable record", entry))
                continue
            if entry.deliveries > POISON_DELIVERIES:
                log.error("what is for a webhook is poison", app=self.lane.app, webhook_id=forward.id)
                self.consumer.settle(Bury(entry.id, Cause.POISON, "poison", forward))
                continue
            claimed.append(_Claimed(entry.id, forward))
        return claimed

    # delivering

    async def _deliver(self, one: _Claimed, *, is_probe: bool = False) -> None:
        """It is settled, or left to a later take-over."""
        is_sent = False
        try:
            answer = await self._sent(one, is_probe=is_probe)
            if isinstance(answer, TransportFailure) and answer.kind in _WORTH_ANOTHER and not is_probe:
                self._observer.repeated(answer.reason, 1)
                answer = await self._sent(one)
            if answer is not None:
                is_sent = True
                await self._conclude(one, answer, is_probe=is_probe)
        except RedisError as error:  # the lane's pause is not stored; another try has the same id
            self._trouble = f"store: {type(error).__name__}"
            self._leave(one, self._trouble)
        except Exception as error:  # one that escapes makes it a dead letter, and the loop goes on
            log.exception("delivery failed", app=self.lane.app, channel=self.lane.channel)
            reason = f"internal error: {type(error).__name__}"
            bury = Bury(one.entry_id, Cause.INTERNAL, reason, one.forward)
            self._settle(one, ForwardDecision(bury, Result.DEAD_LETTER, reason))
        finally:
            if is_probe and not is_sent:
                await self._control.withdraw_probe()

    async def _sent(self, one: _Claimed, *, is_probe: bool = False) -> Response | TransportFailure | None:
        """What came back; None where nothing was sent, and what becomes of it is decided."""
        is_used = False
        await self._transport.reserve(1)
        try:
            now = self._now()
            if not self.consumer.is_open(one.entry_id):
                return None
            if one.forward.until <= now:
                self._settle(one, expired(one.entry_id, one.forward))
                return None
            if not is_probe and (self._control.is_paused or self._is_closing):
                self._settle(one, put_back(one.entry_id, one.forward, now))
                return None
            if not self.consumer.may_act([one.entry_id]):
                self._observer.leases_lost(self.consumer.source.name, 1)
                self._leave(one, "lease over")
                return None
            request = self._wire.build(one.forward, now)
            is_used = True
        finally:
            if not is_used:
                self._transport.give_back(1)
        began = self._clock()
        answer = await self._transport.send(request, self.consumer.leave_by([one.entry_id]))
        if isinstance(answer, Response):
            self._observer.answered(self._clock() - began)
        return answer

    async def _conclude(self, one: _Claimed, answer: Response | TransportFailure, *, is_probe: bool) -> None:
        now = self._now()
        if isinstance(answer, TransportFailure) and answer.kind is FailureKind.NOT_SENT:
            self._settle(one, put_back(one.entry_id, one.forward, now))
            if is_probe:
                await self._control.withdraw_probe()
            return
        outcome = self._wire.read(answer, now) if isinstance(answer, Response) else Deferred(answer.reason)
        if isinstance(outcome, Deferred) and outcome.about is About.PROVIDER:
            self._trouble = outcome.reason
            self._control.failed(one.forward.id)
        else:
            self._trouble = ""
            self._control.answered()
        decision = decide_forward(
            one.entry_id, one.forward, outcome, now=now, backoff=self._backoff, is_paused=self._control.is_paused,
            is_probe=is_probe,
        )  # fmt: skip
        if decision.pause is not None:
            await self._control.pause(decision.pause, now)
        self._settle(one, decision)
        if is_probe and decision.pause is None:
            await self._control.resume()

    def _settle(self, one: _Claimed, decision: ForwardDecision) -> None:
        if self.consumer.is_open(one.entry_id):
            self._progress_at = self._clock()
            self.consumer.settle(decision.settlement)
            self._observer.forwarded(one.forward, decision)

    def _leave(self, one: _Claimed, why: str) -> None:
        log.warning("a callback is left for a later try", app=self.lane.app, channel=self.lane.channel, error=why)
        self.consumer.release([one.entry_id])

    # pausing

    def observe(self, stored: StoredLane, asked_at: float) -> None:
        """What the store said of the lane to a question asked then."""
        self._control.observe(stored, asked_at)

    async def _look_while_paused(self) -> None:
        """One goes out now and then; when it gets through the lane is open again."""
        await self._control.look()
        if not self._control.is_paused:
            return
        self.consumer.in_flight.allow(self._in_flight)
        if self.consumer.in_flight.used or not await self.consumer.length():
            await asyncio.sleep(self.consumer.block.total_seconds())
        elif await self._control.may_probe():
            await self._probe()
        else:
            await self._expire()
            await asyncio.sleep(self.consumer.block.total_seconds())

    async def _probe(self) -> None:
        """Of what is claimed the first goes out; dead workers' entries are claimed last."""
        claimed = self._read(await self.consumer.claim(_PROBE_CLAIM))
        claimed = claimed or self._read(await self.consumer.take_over(1))
        living = self._bury_expired(claimed)
        self._put_back(living[1:])
        if living:
            await self._deliver(living[0], is_probe=True)
        else:
            await self._control.withdraw_probe()

    async def _expire(self) -> None:
        """A lane that no probe looks into must not keep what people wrote for longer than it may."""
        if self._clock() - self._expired_at < _EXPIRE_EVERY_S:
            return
        self._expired_at = self._clock()
        while claimed := self._read(await self.consumer.claim(_PROBE_CLAIM)):
            living = self._bury_expired(claimed)
            self._put_back(living)
            if living:
                return

    def _bury_expired(self, claimed: Sequence[_Claimed]) -> list[_Claimed]:
        """Returns the others."""
        now = self._now()
        for one in claimed:
            if one.forward.until <= now:
                self._settle(one, expired(one.entry_id, one.forward))
        return [one for one in claimed if one.forward.until > now]

    def _put_back(self, claimed: Sequence[_Claimed]) -> None:
        now = self._now()
        for one in claimed:
            self.consumer.settle(put_back(one.entry_id, one.forward, now).settlement)

    # ending and reporting

    def close(self) -> None:
        """What has not left goes back to the store."""
        self._is_closing = True

    async def drained(self) -> None:
        """Returns once nothing is in flight and everything is settled."""
        while self.consumer.in_flight.used:
            await asyncio.sleep(0.02)
        await self.consumer.settled()

    async def abandon(self) -> None:
        """What is under way is taken over by another worker."""
        await self._tasks.cancel()

    def stall(self) -> str:
        """Why the lane makes no progress although it is open and work waits; "" where it does, or has nothing to do."""
        if self._control.is_paused or not self.consumer.in_flight.used:
            self._progress_at = self._clock()
        if self._clock() - self._progress_at < self._patience_s:
            return ""
        return self._trouble or "no answer from the webhook"
